"""SHTP: simultaneous hard thresholding pursuit, s atoms for a whole sequence.

It alternates a gradient step, the choice of the s atoms whose coefficients are largest over all tokens, and a
least-squares fit of all tokens on them, until the choice repeats. Unlike IHTP, the budget does not grow with the length
of the sequence, and a wrong first choice can be corrected. A token's codes depend on its whole sequence.

Foucart 2011, Recovering jointly sparse vectors via hard thresholding pursuit, SampTA 2011; for single vectors
https://doi.org/10.1137/100806278
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sae_research.errors import UserError
from sae_research.records import at_least
from sae_research.saes.about import About
from sae_research.saes.base import SaeCard, Scope
from sae_research.saes.pursuit.sequences import SupportSae
from sae_research.saes.pursuit.supports import codes_on
from sae_research.saes.solvers.selection import top_k_mask

ABOUT = About(title="SHTP", marker="D", color="#009988", place=110)


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
    """Only positive codes: only positive coefficients count in the choice, and the fit is non-negative."""

    def __post_init__(self) -> None:
        at_least(self, s=1, iters=1)
        if self.mu <= 0:
            raise ValueError(f"mu is {self.mu}, expected more than 0")


@final
class ShtpSae(SupportSae):
    """W = 0; S = top_s of the column norms of W + mu (Y - W D) D^T, W = argmin_W ||Y - W D_S||_F, until S repeats."""

    scope: ClassVar[Scope] = "sequence"
    settings_type = Settings
    settings: Settings

    def __init__(self, card: SaeCard, tensors: Mapping[str, Tensor]) -> None:
        super().__init__(card, tensors)
        if self.settings.s > card.d_sae:
            raise UserError(
                f"SAE {card.name!r}: s is {self.settings.s}, but d_sae is {card.d_sae}; s must be at most d_sae"
            )

    def largest_support(self, tokens: int) -> int:
        return self.settings.s

    def pursue(self, y: Float[Tensor, "seq token d_in"], codes: Float[Tensor, "seq token d_sae"]) -> None:
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
