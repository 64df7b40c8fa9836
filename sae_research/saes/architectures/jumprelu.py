"""The JumpReLU SAE: a latent fires above a threshold of its own.

Rajamanoharan et al. 2024, Jumping ahead: improving reconstruction fidelity with JumpReLU sparse autoencoders,
https://arxiv.org/abs/2407.14435
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor

from sae_research.saes.about import About
from sae_research.saes.base import Shapes
from sae_research.saes.kernels.screening import Firing
from sae_research.saes.linear import BIASED, LinearSae, biased_firing

ABOUT = About(title="JumpReLU", marker="X", color="#ee7733", place=40, sae_lens_names=("jumprelu",))


@dataclass(frozen=True)
class Settings:
    """Options of a JumpReLU SAE."""

    subtract_b_dec: bool = False
    """Whether the encoder sees x - b_dec rather than x; Gemma Scope's and dictionary_learning's see x."""


@final
class JumpReluSae(LinearSae):
    """codes = relu(a) where a > threshold (strictly), else 0; a = x W_enc + b_enc."""

    settings_type = Settings
    shapes: ClassVar[Shapes] = {**BIASED, "threshold": ("d_sae",)}
    scaled_with_atoms = ("W_enc", "b_enc", "threshold")
    b_enc: Tensor
    threshold: Tensor

    def activate(self, products: Float[Tensor, "*batch d_sae"]) -> Float[Tensor, "*batch d_sae"]:
        acts = products.add_(self.b_enc)
        return torch.where(acts > self.threshold, torch.relu(acts), 0)

    def firing(self) -> Firing:
        return biased_firing(self.b_enc)._replace(level=self.threshold.clamp(min=0))
