"""The BatchTopK SAE at inference: a threshold learnt in training takes the place of the batch's top-k.

Bussmann et al. 2024, BatchTopK sparse autoencoders, https://arxiv.org/abs/2412.06410
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

ABOUT = About(
    title="BatchTopK",
    marker="s",
    color="#aa3377",
    place=30,
    sae_lens_names=("batchtopk", "matryoshka_batchtopk"),
    sae_lens_saves_as="jumprelu",
    sae_bench_names=("batch_topk",),
)


@dataclass(frozen=True)
class Settings:
    """Options of a BatchTopK SAE."""

    k: float | None = None
    """Latents active per token on average in training; a label that does not affect the codes."""
    subtract_b_dec: bool = True
    """Whether the encoder sees x - b_dec rather than x."""


@final
class BatchTopKSae(LinearSae):
    """codes = a where a > threshold (strictly), else 0; a = relu((x - b_dec) W_enc + b_enc).

    The threshold is one number in training. Here each latent has its own, because scaling the atoms to norm 1 scales
    it.
    """

    settings_type = Settings
    shapes: ClassVar[Shapes] = {**BIASED, "threshold": ("d_sae",)}
    scaled_with_atoms = ("W_enc", "b_enc", "threshold")
    b_enc: Tensor
    threshold: Tensor

    def activate(self, products: Float[Tensor, "*batch d_sae"]) -> Float[Tensor, "*batch d_sae"]:
        acts = products.add_(self.b_enc).relu_()
        return torch.where(acts > self.threshold, acts, 0)

    def firing(self) -> Firing:
        return biased_firing(self.b_enc)._replace(level=self.threshold.clamp(min=0))
