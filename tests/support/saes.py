"""Small random SAEs of any architecture, so that contract tests need no table of them."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any, get_type_hints

import torch
from torch import Tensor

from sae_research.lm.site import Site
from sae_research.saes.base import Sae, SaeCard
from sae_research.saes.build import build_sae, unit_atoms
from sae_research.saes.registry import sae_class

_VALUES: dict[type, Any] = {int: 3, float: 3.0, bool: True}
_NARROWER: dict[str, dict[str, Any]] = {"groupmax": {"k": 4}}
"""Of architectures that do not take these; this k divides the widths that tests use."""


def required_options(architecture: str) -> dict[str, Any]:
    """A value for each option without a default."""
    record = sae_class(architecture).settings_type
    hints = get_type_hints(record)
    needed = [f.name for f in fields(record) if f.default is f.default_factory is MISSING]
    return {name: _VALUES[hints[name]] for name in needed} | _NARROWER.get(architecture, {})


def random_tensors(architecture: str, *, d_in: int, d_sae: int, seed: int) -> dict[str, Tensor]:
    """Normal tensors, atoms of norm 1."""
    generator, sizes = torch.Generator().manual_seed(seed), {"d_in": d_in, "d_sae": d_sae}
    shapes = sae_class(architecture).shapes.items()
    drawn = {name: torch.randn([sizes[size] for size in shape], generator=generator) for name, shape in shapes}
    return {name: unit_atoms(tensor) if name == "W_dec" else tensor for name, tensor in drawn.items()}


def random_sae(architecture: str, *, d_in: int = 6, d_sae: int = 16, seed: int = 0, **given: Any) -> Sae:
    """random_sae("topk", d_sae=16, k=3, W_dec=...): options and tensors, random ones where none are given."""
    tensors = {name: given.pop(name) for name in list(given) if isinstance(given[name], Tensor)}
    if "W_dec" in tensors:
        d_sae, d_in = tensors["W_dec"].shape
    if not sae_class(architecture).shapes:
        # An SAE without tensors, the identity, cannot be wider than its input.
        d_sae = d_in
    card = SaeCard(
        name=f"{architecture}_test",
        architecture=architecture,
        site=Site(0, "resid_post"),
        d_in=d_in,
        d_sae=d_sae,
        model_name="test",
        hyperparameters={**required_options(architecture), **given},
    )
    return build_sae(card, {**random_tensors(architecture, d_in=d_in, d_sae=d_sae, seed=seed), **tensors})
