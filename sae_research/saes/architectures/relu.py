"""The ReLU SAE: linear encoder, ReLU, linear decoder (Bricken et al. 2023; SAELens' `standard`)."""

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
    """Options of a ReLU SAE."""

    subtract_b_dec: bool = True
    """Whether the encoder sees x - b_dec rather than x."""


@final
class ReluSae(Sae):
    """codes = relu((x - b_dec) W_enc + b_enc)."""

    settings_type = Settings
    shapes: ClassVar[Shapes] = {
        "W_enc": ("d_in", "d_sae"),
        "b_enc": ("d_sae",),
        "W_dec": ("d_sae", "d_in"),
        "b_dec": ("d_in",),
    }
    W_enc: Tensor
    b_enc: Tensor

    def __init__(self, card: SaeCard, tensors: Mapping[str, Tensor]) -> None:
        settings = read_settings(Settings, card)
        super().__init__(with_settings(card, settings), tensors)
        self.settings = settings

    def encode(
        self, x: Float[Tensor, "*batch d_in"], mask: Bool[Tensor, "*batch"] | None = None
    ) -> Float[Tensor, "*batch d_sae"]:
        y = centred(self, x, subtract=self.settings.subtract_b_dec)
        return zero_masked(torch.relu(y @ self.W_enc + self.b_enc), mask)
