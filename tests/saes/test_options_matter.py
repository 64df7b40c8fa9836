"""Every option of every architecture changes the codes, or stands in INERT with its reason."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from support.saes import random_sae

from sae_research.saes.registry import architectures, sae_class

INERT = {"batchtopk.k": "how many latents were active in training: a label, the threshold decides"}
"""By `architecture.option`: why it changes no code."""
BESIDE = {
    "matching_pursuit.residual_threshold": {"max_iterations": 2000, "stop_on_duplicate_support": False},
    "matching_pursuit.stop_on_duplicate_support": {"max_iterations": 50},
}
"""By `architecture.option`: the other options with which it does."""
OPTIONS = [
    (architecture, field.name)
    for architecture in architectures()
    for field in dataclasses.fields(sae_class(architecture).settings_type)
]


def _other(value: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, bool):
        return not value
    return 1 if isinstance(value, int) else (value or 4.0) / 2


@pytest.mark.parametrize(("architecture", "option"), OPTIONS)
def test_another_value_changes_the_codes(architecture: str, option: str) -> None:
    x = torch.randn(2, 4, 16, generator=torch.Generator().manual_seed(1))
    beside = BESIDE.get(f"{architecture}.{option}", {})
    sae = random_sae(architecture, d_in=16, d_sae=64, **beside)
    other = random_sae(architecture, d_in=16, d_sae=64, **beside, **{option: _other(getattr(sae.settings, option))})
    is_inert = f"{architecture}.{option}" in INERT
    assert torch.equal(sae.encode(x), other.encode(x)) == is_inert, (
        f"{architecture}: {option} does nothing; make it, or add it to INERT with the reason"
    )


def test_what_is_inert_is_there() -> None:
    assert set(INERT) <= {f"{architecture}.{option}" for architecture, option in OPTIONS}
