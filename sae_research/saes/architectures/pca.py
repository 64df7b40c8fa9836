"""Principal components as an SAE: a linear map with signed, dense codes, the baseline that any SAE has to beat.

Pearson 1901, On lines and planes of closest fit to systems of points in space,
https://doi.org/10.1080/14786440109462720
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from jaxtyping import Bool, Float
from torch import Tensor

from sae_research.saes.about import About
from sae_research.saes.base import DICTIONARY, Sae, Shapes, centred, zero_masked

ABOUT = About(title="PCA", marker="<", color="#777777", place=140)


@dataclass(frozen=True)
class Settings:
    """PCA has no options; the number of components is d_sae."""


@final
class PcaSae(Sae):
    """codes = (x - b_dec) W_enc, where b_dec is the mean and the rows of W_dec are the components."""

    settings_type = Settings
    shapes: ClassVar[Shapes] = {"W_enc": ("d_in", "d_sae"), **DICTIONARY}
    W_enc: Tensor

    def encode(
        self, x: Float[Tensor, "*batch d_in"], mask: Bool[Tensor, "*batch"] | None = None
    ) -> Float[Tensor, "*batch d_sae"]:
        return zero_masked(centred(self, x) @ self.W_enc, mask)
