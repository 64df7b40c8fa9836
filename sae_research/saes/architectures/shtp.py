"""SHTP: simultaneous hard thresholding pursuit (Foucart 2011), s atoms for a whole sequence.

Alternates a gradient step, the choice of the s atoms whose coefficients are largest over all tokens, and a
least-squares fit of all tokens on them, until the choice repeats. Unlike IHTP, the budget does not grow with the
length of the sequence, and a first wrong choice can be mended. A token's codes depend on its whole sequence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sae_research.errors import UserError
from sae_research.saes.base import Sae, SaeCard, Scope, Shapes
from sae_research.saes.build import check_unit_atoms, read_settings, with_settings
from sae_research.saes.pursuit.sequences import encode_sequences
from sae_research.saes.pursuit.supports import codes_on
from sae_research.saes.solvers.selection import top_k_mask


@dataclass(frozen=True)
class Settings:
    """Options of SHTP."""

    s: int
    """Atoms of a sequence."""
    iters: int = 10
    """Rounds of choice and fit, at most."""
    mu: float = 1.0
    """Length of the gradient step."""
    nonneg: bool = False
    """Only positive codes: only positive coefficients count in the choice, non-negative least squares."""


@final
class ShtpSae(Sae):
    """W = 0; S = top_s of the column norms of W + mu (Y - W D) D^T, W = argmin_W ||Y - W D_S||_F, until S repeats."""

    scope: ClassVar[Scope] = "sequence"
    settings_type = Settings
    shapes: ClassVar[Shapes] = {"W_dec": ("d_sae", "d_in"), "b_dec": ("d_in",)}

    def __init__(self, card: SaeCard, tensors: Mapping[str, Tensor]) -> None:
        settings = read_settings(Settings, card)
        _check(card, settings)
        super().__init__(with_settings(card, settings), tensors)
        check_unit_atoms(card, self.W_dec)
        self.settings = settings

    def encode(
        self, x: Float[Tensor, "*batch d_in"], mask: Bool[Tensor, "*batch"] | None = None
    ) -> Float[Tensor, "*batch d_sae"]:
        return encode_sequences(self, x, mask, self._encode, per_token=self.settings.s, most=self.settings.s)

    def _encode(self, y: Float[Tensor, "seq token d_in"], codes: Float[Tensor, "seq token d_sae"]) -> None:
        chosen = None
        codes.zero_()
        for _ in range(self.settings.iters):
            before, chosen = chosen, self._choose(y, codes)
            if before is not None and torch.equal(before, chosen):
                break
            codes_on(y, self.W_dec, chosen, nonneg=self.settings.nonneg, out=codes)

    def _choose(
        self, y: Float[Tensor, "seq token d_in"], codes: Float[Tensor, "seq token d_sae"]
    ) -> Bool[Tensor, "seq d_sae"]:
        stepped = codes + self.settings.mu * ((y - codes @ self.W_dec) @ self.W_dec.T)
        counted = stepped.clamp_min_(0) if self.settings.nonneg else stepped
        return top_k_mask(torch.linalg.vector_norm(counted, dim=1), self.settings.s)


def _check(card: SaeCard, settings: Settings) -> None:
    if not 1 <= settings.s <= card.d_sae:
        raise UserError(
            f"SAE {card.name!r}: s is {settings.s}, but d_sae is {card.d_sae}; s must lie between 1 and d_sae"
        )
    if settings.iters < 1 or settings.mu <= 0:
        raise UserError(
            f"SAE {card.name!r}: iters is {settings.iters} and mu {settings.mu}, expected at least 1 and more than 0"
        )
