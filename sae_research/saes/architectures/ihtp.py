"""IHTP: instance-level hard thresholding pursuit on a fixed dictionary, as the seed defines it.

One support per sequence: the union over its tokens of the k atoms most correlated with each. Then all tokens are
fitted on that support by least squares, so every token has (nearly) all of the support's atoms, with signs. It is
one hard-thresholding step and a fit, not the iterated HTP of Foucart (2011; that is `shtp`). The codes of a token
depend on its whole sequence, later tokens included (`ihtp_causal` looks back only), and once the support reaches
d_in atoms the fit only interpolates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

from jaxtyping import Bool, Float
from torch import Tensor

from sae_research.saes.base import Sae, SaeCard, Scope, Shapes
from sae_research.saes.build import check_unit_atoms, with_settings
from sae_research.saes.pursuit.sequences import encode_sequences
from sae_research.saes.pursuit.supports import codes_on
from sae_research.saes.pursuit.thresholding import Chooser, Thresholding, read_thresholding


@final
class IhtpSae(Sae):
    """codes_S = argmin_Z ||Y - Z D_S||_F with S = union over tokens of top_k |Y D^T|, Y = x - b_dec, D = W_dec."""

    scope: ClassVar[Scope] = "sequence"
    settings_type = Thresholding
    shapes: ClassVar[Shapes] = {"W_dec": ("d_sae", "d_in"), "b_dec": ("d_in",)}

    def __init__(self, card: SaeCard, tensors: Mapping[str, Tensor]) -> None:
        settings = read_thresholding(card)
        super().__init__(with_settings(card, settings), tensors)
        check_unit_atoms(card, self.W_dec)
        self.settings = settings
        self._chooser = Chooser(settings)

    def encode(
        self, x: Float[Tensor, "*batch d_in"], mask: Bool[Tensor, "*batch"] | None = None
    ) -> Float[Tensor, "*batch d_sae"]:
        return encode_sequences(self, x, mask, self._encode, per_token=self.settings.k, most=self.card.d_sae)

    def _encode(self, y: Float[Tensor, "seq token d_in"], codes: Float[Tensor, "seq token d_sae"]) -> None:
        chosen = self._chooser.choose(y, self.W_dec)
        codes_on(y, self.W_dec, chosen, nonneg=self.settings.nonneg, out=codes)
