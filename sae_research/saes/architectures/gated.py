"""The gated SAE: one path decides which latents fire, the other how strongly (Rajamanoharan et al. 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sae_research.saes.base import Sae, SaeCard, Shapes, centred, zero_masked
from sae_research.saes.build import read_settings, with_settings


@dataclass(frozen=True)
class Settings:
    """Options of a gated SAE."""

    subtract_b_dec: bool = True
    """Whether the encoder sees x - b_dec rather than x."""


@final
class GatedSae(Sae):
    """codes = relu(e^r_mag * y W_enc + b_mag) where y W_enc + b_gate > 0, else 0; y = x - b_dec."""

    settings_type = Settings
    shapes: ClassVar[Shapes] = {
        "W_enc": ("d_in", "d_sae"),
        "b_gate": ("d_sae",),
        "b_mag": ("d_sae",),
        "r_mag": ("d_sae",),
        "W_dec": ("d_sae", "d_in"),
        "b_dec": ("d_in",),
    }
    W_enc: Tensor
    b_gate: Tensor
    b_mag: Tensor
    r_mag: Tensor

    def __init__(self, card: SaeCard, tensors: Mapping[str, Tensor]) -> None:
        settings = read_settings(Settings, card)
        super().__init__(with_settings(card, settings), tensors)
        self.settings = settings

    def encode(
        self, x: Float[Tensor, "*batch d_in"], mask: Bool[Tensor, "*batch"] | None = None
    ) -> Float[Tensor, "*batch d_sae"]:
        shared = centred(self, x, subtract=self.settings.subtract_b_dec) @ self.W_enc
        magnitudes = torch.relu(shared * self.r_mag.exp() + self.b_mag)
        return zero_masked(torch.where(shared + self.b_gate > 0, magnitudes, 0), mask)
