"""The JumpReLU SAE: a threshold per latent (Rajamanoharan et al. 2024)."""

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
    """Options of a JumpReLU SAE."""

    subtract_b_dec: bool = False
    """Whether the encoder sees x - b_dec rather than x; Gemma Scope's and dictionary_learning's do not."""


@final
class JumpReluSae(Sae):
    """codes = relu(a) where a > threshold (strictly), else 0; a = x W_enc + b_enc."""

    settings_type = Settings
    shapes: ClassVar[Shapes] = {
        "W_enc": ("d_in", "d_sae"),
        "b_enc": ("d_sae",),
        "threshold": ("d_sae",),
        "W_dec": ("d_sae", "d_in"),
        "b_dec": ("d_in",),
    }
    W_enc: Tensor
    b_enc: Tensor
    threshold: Tensor

    def __init__(self, card: SaeCard, tensors: Mapping[str, Tensor]) -> None:
        settings = read_settings(Settings, card)
        super().__init__(with_settings(card, settings), tensors)
        self.settings = settings

    def encode(
        self, x: Float[Tensor, "*batch d_in"], mask: Bool[Tensor, "*batch"] | None = None
    ) -> Float[Tensor, "*batch d_sae"]:
        acts = centred(self, x, subtract=self.settings.subtract_b_dec) @ self.W_enc + self.b_enc
        return zero_masked(torch.where(acts > self.threshold, torch.relu(acts), 0), mask)
