"""Principal components as an SAE: a linear map with signed, dense codes; the baseline any SAE has to beat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

from jaxtyping import Bool, Float
from torch import Tensor

from sae_research.saes.base import Sae, SaeCard, Shapes, centred, zero_masked
from sae_research.saes.build import read_settings, with_settings


@dataclass(frozen=True)
class Settings:
    """PCA has no options: how many components there are is d_sae."""


@final
class PcaSae(Sae):
    """codes = (x - b_dec) W_enc, where b_dec is the mean and the rows of W_dec are the components."""

    settings_type = Settings
    shapes: ClassVar[Shapes] = {"W_enc": ("d_in", "d_sae"), "W_dec": ("d_sae", "d_in"), "b_dec": ("d_in",)}
    W_enc: Tensor

    def __init__(self, card: SaeCard, tensors: Mapping[str, Tensor]) -> None:
        super().__init__(with_settings(card, read_settings(Settings, card)), tensors)

    def encode(
        self, x: Float[Tensor, "*batch d_in"], mask: Bool[Tensor, "*batch"] | None = None
    ) -> Float[Tensor, "*batch d_sae"]:
        return zero_masked(centred(self, x) @ self.W_enc, mask)
