"""The GroupMax SAE: the largest pre-activation of each of k groups of neighbouring latents (EleutherAI's sparsify).

https://github.com/EleutherAI/sparsify
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from sae_research.errors import UserError
from sae_research.saes.about import About
from sae_research.saes.base import SaeCard, check_k
from sae_research.saes.linear import BIASED, LinearSae

ABOUT = About(title="GroupMax", marker=">", color="#999933", place=27)


@dataclass(frozen=True)
class Settings:
    """Options of a GroupMax SAE."""

    k: int
    """Groups, in each of which one latent is active at most."""
    subtract_b_dec: bool = True
    """Whether the encoder sees x - b_dec rather than x."""


@final
class GroupMaxSae(LinearSae):
    """codes = in each of k groups of d_sae / k latents the largest of relu((x - b_dec) W_enc + b_enc), the others 0."""

    settings_type = Settings
    settings: Settings
    shapes = BIASED
    b_enc: Tensor

    def __init__(self, card: SaeCard, tensors: Mapping[str, Tensor]) -> None:
        super().__init__(card, tensors)
        check_k(card, self.settings.k)
        if card.d_sae % self.settings.k:
            raise UserError(
                f"SAE {card.name!r}: its {card.d_sae} latents do not make {self.settings.k} groups of one size; "
                "k must divide d_sae"
            )

    def activate(self, products: Float[Tensor, "*batch d_sae"]) -> Float[Tensor, "*batch d_sae"]:
        groups = products.add_(self.b_enc).relu_().unflatten(-1, (self.settings.k, -1))
        best = groups.max(dim=-1, keepdim=True)
        return torch.zeros_like(groups).scatter_(-1, best.indices, best.values).flatten(-2)

    def firing(self) -> None:
        return None
