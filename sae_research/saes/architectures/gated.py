"""The gated SAE: one path decides which latents fire, another how strongly.

Rajamanoharan et al. 2024, Improving dictionary learning with gated sparse autoencoders,
https://arxiv.org/abs/2404.16014
"""

from __future__ import annotations

from typing import ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor

from sae_research.saes.about import About
from sae_research.saes.base import DICTIONARY, Shapes
from sae_research.saes.kernels.screening import Firing
from sae_research.saes.linear import LinearSae, LinearSettings

ABOUT = About(title="Gated", marker="d", color="#66ccee", place=50, sae_lens_names=("gated",))


@final
class GatedSae(LinearSae):
    """codes = relu(e^r_mag * y W_enc + b_mag) where y W_enc + b_gate > 0, else 0; y = x - b_dec."""

    settings_type = LinearSettings
    shapes: ClassVar[Shapes] = {
        "W_enc": ("d_in", "d_sae"),
        "b_gate": ("d_sae",),
        "b_mag": ("d_sae",),
        "r_mag": ("d_sae",),
        **DICTIONARY,
    }
    scaled_with_atoms = ("W_enc", "b_gate", "b_mag")
    b_gate: Tensor
    b_mag: Tensor
    r_mag: Tensor

    def activate(self, products: Float[Tensor, "*batch d_sae"]) -> Float[Tensor, "*batch d_sae"]:
        magnitudes = torch.relu(products * self.r_mag.exp() + self.b_mag)
        return torch.where(products + self.b_gate > 0, magnitudes, 0)

    def firing(self) -> Firing:
        return Firing(gate=self.b_gate, level=torch.zeros_like(self.b_gate), gain=self.r_mag.exp(), bias=self.b_mag)
