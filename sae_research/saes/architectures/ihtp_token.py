"""Per-token IHTP: each token has a support of its own, the k atoms most correlated with it, and its own fit.

IHTP with sequences of one token; see `ihtp`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from jaxtyping import Float
from torch import Tensor

from sae_research.saes.about import About
from sae_research.saes.base import SaeCard
from sae_research.saes.pursuit.sequences import SupportSae
from sae_research.saes.pursuit.supports import codes_on
from sae_research.saes.pursuit.thresholding import Chooser, Thresholding

ABOUT = About(title="IHTP, per token", marker="H", color="#bb5566", place=100)


@final
class IhtpTokenSae(SupportSae):
    """codes_S = argmin_z ||y - z D_S|| with S = top_k |D y|, y = x - b_dec, D = W_dec: at most k active atoms."""

    settings_type = Thresholding
    settings: Thresholding
    atoms_per_token = "k"

    def __init__(self, card: SaeCard, tensors: Mapping[str, Tensor]) -> None:
        super().__init__(card, tensors)
        self._chooser = Chooser(card, self.settings)

    def largest_support(self, tokens: int) -> int:
        return self.settings.k

    def pursue(self, y: Float[Tensor, "seq 1 d_in"], codes: Float[Tensor, "seq 1 d_sae"]) -> None:
        chosen = self._chooser.choose(y, self.W_dec)
        codes_on(y, self.W_dec, chosen, nonneg=self.settings.nonneg, out=codes)
