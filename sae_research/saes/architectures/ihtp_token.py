"""Per-token IHTP: each token has a support of its own, the k atoms most correlated with it, and its own fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

from jaxtyping import Bool, Float
from torch import Tensor

from sae_research.saes.base import Sae, SaeCard, Shapes
from sae_research.saes.build import check_unit_atoms, with_settings
from sae_research.saes.pursuit.sequences import encode_sequences
from sae_research.saes.pursuit.supports import codes_on
from sae_research.saes.pursuit.thresholding import Chooser, Thresholding, read_thresholding


@final
class IhtpTokenSae(Sae):
    """codes_S = argmin_z ||y - z D_S|| with S = top_k |D y|, y = x - b_dec, D = W_dec: at most k active atoms."""

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
        tokens, real = x.reshape(-1, x.shape[-1]), None if mask is None else mask.reshape(-1)
        codes = encode_sequences(self, tokens, real, self._encode, per_token=self.settings.k, most=self.card.d_sae)
        return codes.reshape(*x.shape[:-1], self.card.d_sae)

    def _encode(self, y: Float[Tensor, "seq 1 d_in"], codes: Float[Tensor, "seq 1 d_sae"]) -> None:
        chosen = self._chooser.choose(y, self.W_dec)
        codes_on(y, self.W_dec, chosen, nonneg=self.settings.nonneg, out=codes)
