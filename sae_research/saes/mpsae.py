"""MPSAE: matching pursuit on a fixed dictionary (Mallat and Zhang 1993), as the seed defines it.

S times: the atom most correlated with what is left of the token, its correlation added to that atom's code and
taken off the rest. Signs are free and an atom may be taken again, so a token has at most S active atoms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sae_research.errors import UserError
from sae_research.saes.base import Sae, SaeCard, Shapes, centred
from sae_research.saes.parts.build import check_unit_atoms, read_settings, with_settings

# Largest Gram matrix to hold, in numbers (2 GiB in float32: 23,000 atoms); beyond it the residual is kept instead.
_GRAM_BUDGET = 2**29
# Correlations held at a time: 64 MiB in float32. Changes memory and speed only.
_BUDGET = 2**24


@dataclass(frozen=True)
class Settings:
    """Options of matching pursuit."""

    s: int
    """Greedy steps per token."""


@final
class MpSae(Sae):
    """r = x - b_dec; s times: j = argmax |D r| (lowest on ties), codes_j += D_j r, r -= (D_j r) D_j; D = W_dec."""

    shapes: ClassVar[Shapes] = {"W_dec": ("d_sae", "d_in"), "b_dec": ("d_in",)}

    def __init__(self, card: SaeCard, tensors: Mapping[str, Tensor]) -> None:
        settings = read_settings(Settings, card)
        if settings.s < 1:
            raise UserError(f"SAE {card.name!r}: s is {settings.s}, expected at least 1 pursuit step")
        super().__init__(with_settings(card, settings), tensors)
        check_unit_atoms(card, self.W_dec)
        self.settings = settings
        self.register_buffer("_gram", None, persistent=False)

    def encode(
        self, x: Float[Tensor, "*batch d_in"], mask: Bool[Tensor, "*batch"] | None = None
    ) -> Float[Tensor, "*batch d_sae"]:
        y = centred(self, x)
        codes = y.new_zeros(*y.shape[:-1], self.card.d_sae)
        real = slice(None) if mask is None else mask.reshape(-1)
        tokens = y.reshape(-1, y.shape[-1])[real]
        if len(tokens):
            parts = [self._pursue(part) for part in tokens.split(max(1, _BUDGET // self.card.d_sae))]
            codes.view(-1, self.card.d_sae)[real] = torch.cat(parts)
        return codes

    def _pursue(self, y: Float[Tensor, "token d_in"]) -> Float[Tensor, "token d_sae"]:
        gram = self._held_gram()
        codes = y.new_zeros(len(y), self.card.d_sae)
        correlations, residual = y @ self.W_dec.T, y
        for _ in range(self.settings.s):
            atom, value = _best(correlations)
            codes.scatter_add_(1, atom, value)
            if gram is not None:
                correlations.addcmul_(value, gram[atom.squeeze(1)], value=-1)
            else:
                residual = residual - value * self.W_dec[atom.squeeze(1)]
                correlations = residual @ self.W_dec.T
        return codes

    def _held_gram(self) -> Float[Tensor, "d_sae d_sae"] | None:
        """D D^T, computed at first use, or None where it would take too much memory."""
        if self.card.d_sae**2 > _GRAM_BUDGET:
            return None
        if self._gram is None:
            self._gram = self.W_dec @ self.W_dec.T
        return self._gram


def _best(
    correlations: Float[Tensor, "token d_sae"],
) -> tuple[Int[Tensor, "token 1"], Float[Tensor, "token 1"]]:
    """The atom of largest absolute correlation of each token (the lowest index of equals), and that correlation."""
    atom = correlations.abs().argmax(dim=1, keepdim=True)
    return atom, correlations.gather(1, atom)
