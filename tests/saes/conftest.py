"""SAEs small enough to check by hand, one of each architecture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from sae_research.lm.site import Site
from sae_research.saes.base import Sae, SaeCard
from sae_research.saes.build import build_sae, unit_atoms
from sae_research.saes.registry import sae_class

OPTIONS: dict[str, dict[str, Any]] = {
    "batchtopk": {"k": 4.0},
    "ihtp": {"k": 2},
    "ihtp_causal": {"k": 2},
    "ihtp_token": {"k": 2},
    "mpsae": {"s": 5},
    "omp": {"s": 3},
    "shtp": {"s": 3},
    "topk": {"k": 4},
}

MakeSae = Callable[..., Sae]


@pytest.fixture
def make_sae() -> MakeSae:
    """make_sae("topk", d_in=6, d_sae=16, seed=0, k=3, W_dec=...) with random tensors where none is given."""

    def make(architecture: str, *, d_in: int = 6, d_sae: int = 16, seed: int = 0, **given: Any) -> Sae:
        if architecture == "identity":
            d_sae = d_in
        generator = torch.Generator().manual_seed(seed)
        tensors = {name: given.pop(name) for name in list(given) if isinstance(given[name], Tensor)}
        if "W_dec" in tensors:
            d_sae, d_in = tensors["W_dec"].shape
        card = SaeCard(
            name=f"{architecture}_test",
            architecture=architecture,
            site=Site(0, "resid_post"),
            d_in=d_in,
            d_sae=d_sae,
            model_name="test",
            hyperparameters={**OPTIONS.get(architecture, {}), **given},
        )
        sizes = {"d_in": d_in, "d_sae": d_sae}
        for name, shape in sae_class(architecture).shapes.items():
            if name not in tensors:
                drawn = torch.randn([sizes[size] for size in shape], generator=generator)
                tensors[name] = unit_atoms(drawn) if name == "W_dec" else drawn
        return build_sae(card, tensors)

    return make
