"""IHTP: instance-level hard thresholding pursuit on a fixed dictionary, as the project's seed defines it.

Each sequence has one support: the union over its tokens of the k atoms most correlated with each. All tokens are then
fitted on that support by least squares, so every token has (nearly) all of the support's atoms, with signs. It is one
hard-thresholding step and a fit, not the iterated pursuit of Foucart (that is `shtp`). The codes of a token depend on
its whole sequence, later tokens included (`ihtp_causal` only looks back). Once the support reaches d_in atoms, the fit
does nothing but interpolate.

Foucart 2011, Hard thresholding pursuit: an algorithm for compressive sensing, https://doi.org/10.1137/100806278
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

from jaxtyping import Float
from torch import Tensor

from sae_research.saes.about import About
from sae_research.saes.base import SaeCard, Scope
from sae_research.saes.pursuit.sequences import SupportSae
from sae_research.saes.pursuit.supports import codes_on
from sae_research.saes.pursuit.thresholding import Chooser, Thresholding

ABOUT = About(title="IHTP", marker="*", color="#cc3311", place=80)


@final
class IhtpSae(SupportSae):
    """codes_S = argmin_Z ||Y - Z D_S||_F with S = union over tokens of top_k |Y D^T|, Y = x - b_dec, D = W_dec."""

    scope: ClassVar[Scope] = "sequence"
    settings_type = Thresholding
    settings: Thresholding

    def __init__(self, card: SaeCard, tensors: Mapping[str, Tensor]) -> None:
        super().__init__(card, tensors)
        self._chooser = Chooser(card, self.settings)

    def largest_support(self, tokens: int) -> int:
        return min(self.settings.k * tokens, self.card.d_sae)

    def pursue(self, y: Float[Tensor, "seq token d_in"], codes: Float[Tensor, "seq token d_sae"]) -> None:
        chosen = self._chooser.choose(y, self.W_dec)
        codes_on(y, self.W_dec, chosen, nonneg=self.settings.nonneg, out=codes)
