"""MPSAE: matching pursuit on a fixed dictionary (Mallat and Zhang 1993), as the seed defines it.

S times: the atom most correlated with what is left of the token, its correlation added to that atom's code and
taken off the rest. Signs are free (unless `nonneg`) and an atom may be taken again, so a token has at most S active
atoms. Correlations are kept up to date by D D^T: 2 d_sae operations a step instead of 2 d_sae d_in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

from jaxtyping import Bool, Float
from torch import Tensor

from sae_research.errors import UserError
from sae_research.saes.base import Sae, SaeCard, Shapes, centred
from sae_research.saes.build import check_unit_atoms, read_settings, with_settings
from sae_research.saes.pursuit.matching import pursue_correlations, pursue_residual
from sae_research.saes.solvers.gram import shared_gram

# Largest Gram matrix to hold, in numbers (2 GiB in float32: 23,000 atoms); beyond it the residual is kept instead.
_GRAM_BUDGET = 2**29
# Correlations held at a time: 64 MiB in float32. Changes memory and speed only.
_BUDGET = 2**24


@dataclass(frozen=True)
class Settings:
    """Options of matching pursuit."""

    s: int
    """Greedy steps per token."""
    nonneg: bool = False
    """Only positive codes: the step takes the largest correlation, and nothing where none is above 0."""


@final
class MpSae(Sae):
    """r = x - b_dec; s times: j = argmax |D r| (lowest on ties), codes_j += D_j r, r -= (D_j r) D_j; D = W_dec."""

    settings_type = Settings
    shapes: ClassVar[Shapes] = {"W_dec": ("d_sae", "d_in"), "b_dec": ("d_in",)}

    def __init__(self, card: SaeCard, tensors: Mapping[str, Tensor]) -> None:
        settings = read_settings(Settings, card)
        if settings.s < 1:
            raise UserError(f"SAE {card.name!r}: s is {settings.s}, expected at least 1 pursuit step")
        super().__init__(with_settings(card, settings), tensors)
        check_unit_atoms(card, self.W_dec)
        self.settings = settings
        self._gram: Tensor | None = None

    def encode(
        self, x: Float[Tensor, "*batch d_in"], mask: Bool[Tensor, "*batch"] | None = None
    ) -> Float[Tensor, "*batch d_sae"]:
        tokens = centred(self, x).reshape(-1, self.card.d_in)
        real = None if mask is None else mask.reshape(-1)
        codes = self._codes(tokens if real is None else tokens[real])
        if real is not None:
            codes = tokens.new_zeros(len(tokens), self.card.d_sae).index_put_((real,), codes)
        return codes.reshape(*x.shape[:-1], self.card.d_sae)

    def _codes(self, y: Float[Tensor, "token d_in"]) -> Float[Tensor, "token d_sae"]:
        codes = y.new_zeros(len(y), self.card.d_sae)
        at_once = max(1, _BUDGET // self.card.d_sae)
        for y_part, codes_part in zip(y.split(at_once), codes.split(at_once), strict=True):
            self._pursue(y_part, codes_part)
        return codes

    def _pursue(self, y: Float[Tensor, "token d_in"], codes: Float[Tensor, "token d_sae"]) -> None:
        steps, nonneg = self.settings.s, self.settings.nonneg
        if self.card.d_sae**2 > _GRAM_BUDGET:
            pursue_residual(y, self.W_dec, codes, steps=steps, nonneg=nonneg)
        else:
            pursue_correlations(y @ self.W_dec.T, self._held_gram(), codes, steps=steps, nonneg=nonneg)

    def _held_gram(self) -> Float[Tensor, "d_sae d_sae"]:
        """D D^T, looked up or computed at first use and again where the atoms went to another device or dtype."""
        held = self._gram
        if held is None or (held.dtype, held.device) != (self.W_dec.dtype, self.W_dec.device):
            held = self._gram = shared_gram(self.W_dec)
        return held
