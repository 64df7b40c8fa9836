"""MPSAE: matching pursuit on a fixed dictionary, as the project's seed defines it.

s times, take the atom most correlated with the residual of the token, add the correlation to that atom's code, and
subtract its contribution from the residual. Signs are free (unless `nonneg`) and an atom may be taken again, so a token
has at most s active atoms. Correlations are updated with D D^T: 2 d_sae operations per step instead of 2 d_sae d_in.

Mallat and Zhang 1993, Matching pursuits with time-frequency dictionaries, https://doi.org/10.1109/78.258082
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from jaxtyping import Bool, Float
from torch import Tensor

from sae_research.device_memory import elements_at_once
from sae_research.errors import UserError
from sae_research.records import at_least
from sae_research.saes.about import About
from sae_research.saes.base import DICTIONARY, Sae, SaeCard, centred
from sae_research.saes.pursuit.matching import pursue_correlations, pursue_residual
from sae_research.saes.pursuit.sequences import check_unit_atoms
from sae_research.saes.solvers.gram import shared_gram

ABOUT = About(title="MPSAE", marker="P", color="#332288", place=120)

# Largest Gram matrix to hold, in numbers (2 GiB in float32: 23,000 atoms); beyond it the residual is kept instead.
_GRAM_BUDGET = 2**29
# Correlations held at a time on a CPU: 64 MiB in float32. Changes memory and speed only.
_BUDGET = 2**24
# Dictionaries with 2.5 or more atoms for each dimension leave only rounding after 10 steps for each atom (measured).
_STEPS_PER_ATOM, _FEW_STEPS = 10, 1000


@dataclass(frozen=True)
class Settings:
    """Options of matching pursuit."""

    s: int
    """Greedy steps per token."""
    nonneg: bool = False
    """Only positive codes: a step takes the largest correlation, and nothing if none is above 0."""

    def __post_init__(self) -> None:
        at_least(self, s=1)


@final
class MpSae(Sae):
    """r = x - b_dec; s times: j = argmax |D r| (lowest on ties), codes_j += D_j r, r -= (D_j r) D_j; D = W_dec."""

    settings_type = Settings
    settings: Settings
    shapes = DICTIONARY
    atoms_per_token = "s"

    def __init__(self, card: SaeCard, tensors: Mapping[str, Tensor]) -> None:
        super().__init__(card, tensors)
        most = max(_FEW_STEPS, _STEPS_PER_ATOM * card.d_sae)
        if self.settings.s > most:
            raise UserError(
                f"SAE {card.name!r}: s is {self.settings.s}, but d_sae is {card.d_sae}; expected at most {most} steps, "
                f"{_STEPS_PER_ATOM} for each atom or {_FEW_STEPS}: they take time and explain nothing more"
            )
        check_unit_atoms(card, self.W_dec)
        self._gram: Tensor | None = None

    def encode(
        self, x: Float[Tensor, "*batch d_in"], mask: Bool[Tensor, "*batch"] | None = None
    ) -> Float[Tensor, "*batch d_sae"]:
        tokens = centred(self, x).reshape(-1, self.card.d_in)
        real = None if mask is None else mask.reshape(-1)
        y = tokens if real is None else tokens[real]
        codes = y.new_zeros(len(y), self.card.d_sae)
        at_once = max(1, elements_at_once(y.device, on_cpu=_BUDGET) // self.card.d_sae)
        for y_part, codes_part in zip(y.split(at_once), codes.split(at_once), strict=True):
            self._pursue(y_part, codes_part)
        if real is not None:
            codes = tokens.new_zeros(len(tokens), self.card.d_sae).index_put_((real,), codes)
        return codes.reshape(*x.shape[:-1], self.card.d_sae)

    def _pursue(self, y: Float[Tensor, "token d_in"], codes: Float[Tensor, "token d_sae"]) -> None:
        steps, nonneg = self.settings.s, self.settings.nonneg
        if self.card.d_sae**2 > _GRAM_BUDGET:
            pursue_residual(y, self.W_dec, codes, steps=steps, nonneg=nonneg)
        else:
            pursue_correlations(y @ self.W_dec.T, self._held_gram(), codes, steps=steps, nonneg=nonneg)

    def _held_gram(self) -> Float[Tensor, "d_sae d_sae"]:
        """D D^T, computed at first use and again when the atoms have moved to another device or dtype."""
        gram = self._gram
        if gram is None or (gram.dtype, gram.device) != (self.W_dec.dtype, self.W_dec.device):
            gram = self._gram = shared_gram(self.W_dec)
        return gram
