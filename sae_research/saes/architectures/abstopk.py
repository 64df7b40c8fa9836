"""The AbsTopK SAE: the k pre-activations of largest magnitude of each token, with their signs.

AbsTopK: rethinking sparse autoencoders for bidirectional features, 2025, https://arxiv.org/abs/2510.00404
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from sae_research.saes.about import About
from sae_research.saes.base import SaeCard, check_k
from sae_research.saes.linear import BIASED, LinearSae
from sae_research.saes.solvers.selection import top_k_mask

ABOUT = About(title="AbsTopK", marker="p", color="#117733", place=25, sae_lens_names=("abstopk",))


@dataclass(frozen=True)
class Settings:
    """Options of an AbsTopK SAE."""

    k: int
    """Latents active per token."""
    subtract_b_dec: bool = True
    """Whether the encoder sees x - b_dec rather than x."""


@final
class AbsTopKSae(LinearSae):
    """codes = the k entries of a = (x - b_dec) W_enc + b_enc that are largest in magnitude, the others 0; of equal ones
    the lowest indices."""

    settings_type = Settings
    settings: Settings
    shapes = BIASED
    b_enc: Tensor

    def __init__(self, card: SaeCard, tensors: Mapping[str, Tensor]) -> None:
        super().__init__(card, tensors)
        check_k(card, self.settings.k)

    def activate(self, products: Float[Tensor, "*batch d_sae"]) -> Float[Tensor, "*batch d_sae"]:
        acts = products.add_(self.b_enc)
        return torch.where(top_k_mask(acts.abs(), self.settings.k), acts, 0)

    def firing(self) -> None:
        return None
