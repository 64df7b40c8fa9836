"""The TopK SAE: the k largest positive pre-activations of each token.

Gao et al. 2024, Scaling and evaluating sparse autoencoders, https://arxiv.org/abs/2406.04093
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
from sae_research.saes.kernels.screening import Firing
from sae_research.saes.linear import BIASED, LinearSae, biased_firing
from sae_research.saes.solvers.selection import top_k_mask

ABOUT = About(title="TopK", marker="^", color="#228833", place=20, sae_lens_names=("topk",))


@dataclass(frozen=True)
class Settings:
    """Options of a TopK SAE."""

    k: int
    """Latents active per token, at most."""
    subtract_b_dec: bool = True
    """Whether the encoder sees x - b_dec rather than x."""


@final
class TopKSae(LinearSae):
    """codes = the k largest of a = relu((x - b_dec) W_enc + b_enc), the others 0; of equal ones the lowest indices."""

    settings_type = Settings
    settings: Settings
    shapes = BIASED
    b_enc: Tensor

    def __init__(self, card: SaeCard, tensors: Mapping[str, Tensor]) -> None:
        super().__init__(card, tensors)
        check_k(card, self.settings.k)

    def activate(self, products: Float[Tensor, "*batch d_sae"]) -> Float[Tensor, "*batch d_sae"]:
        acts = products.add_(self.b_enc).relu_()
        return torch.where(top_k_mask(acts, self.settings.k), acts, 0)

    def firing(self) -> Firing:
        return biased_firing(self.b_enc)._replace(k=self.settings.k)
