"""The TopK SAE: the k largest positive pre-activations of each token (Gao et al. 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sae_research.saes.base import Sae, SaeCard, Shapes, centred, zero_masked
from sae_research.saes.build import check_k, read_settings, with_settings
from sae_research.saes.solvers.selection import top_k_mask


@dataclass(frozen=True)
class Settings:
    """Options of a TopK SAE."""

    k: int
    """Latents active per token, at most."""
    subtract_b_dec: bool = True
    """Whether the encoder sees x - b_dec rather than x."""


@final
class TopKSae(Sae):
    """codes = the k largest of relu((x - b_dec) W_enc + b_enc), the rest 0; of equal ones the lowest indices."""

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
        check_k(card, settings.k)
        super().__init__(with_settings(card, settings), tensors)
        self.settings = settings

    def encode(
        self, x: Float[Tensor, "*batch d_in"], mask: Bool[Tensor, "*batch"] | None = None
    ) -> Float[Tensor, "*batch d_sae"]:
        y = centred(self, x, subtract=self.settings.subtract_b_dec)
        acts = torch.relu(y @ self.W_enc + self.b_enc)
        return zero_masked(torch.where(top_k_mask(acts, self.settings.k), acts, 0), mask)
