"""OMP: orthogonal matching pursuit, at most s atoms per token, all refitted at every step.

It is matching pursuit whose residual is made orthogonal to all atoms taken so far, so no atom is taken twice and the
codes are the least-squares fit on the support. The projections come from an orthonormal basis of the atoms taken, which
grows by one vector per step (Gram-Schmidt, twice, which is as accurate as Householder's), and the codes from one fit at
the end. Nothing here squares the condition number, as the Cholesky form (Rubinstein et al. 2008) does.

Pati et al. 1993, Orthogonal matching pursuit: recursive function approximation with applications to wavelet
decomposition, https://doi.org/10.1109/ACSSC.1993.342465
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sae_research.records import at_least
from sae_research.saes.about import About
from sae_research.saes.pursuit.sequences import SupportSae
from sae_research.saes.pursuit.supports import codes_on
from sae_research.saes.solvers.cholesky import SPANNED

ABOUT = About(title="OMP", marker="v", color="#9977dd", place=130)

# A correlation below this share of the token's norm is rounding of float32: the token is represented exactly.
_NOISE = 1e-6


@dataclass(frozen=True)
class Settings:
    """Options of OMP."""

    s: int
    """Atoms per token, at most."""

    def __post_init__(self) -> None:
        at_least(self, s=1)


@final
class OmpSae(SupportSae):
    """S = {}, r = x - b_dec; s times: S += argmax |D r| (lowest on ties), r -= its projection on D_S; codes fit S."""

    settings_type = Settings
    settings: Settings
    atoms_per_token = "s"

    def largest_support(self, tokens: int) -> int:
        # More atoms than dimensions never help.
        return min(self.settings.s, self.card.d_in, self.card.d_sae)

    def pursue(self, y: Float[Tensor, "seq 1 d_in"], codes: Float[Tensor, "seq 1 d_sae"]) -> None:
        codes_on(y, self.W_dec, self._supports(y.squeeze(1)), nonneg=False, out=codes)

    def _supports(self, y: Float[Tensor, "token d_in"]) -> Bool[Tensor, "token d_sae"]:
        steps = self.largest_support(1)
        basis, rest = y.new_zeros(len(y), steps, y.shape[1]), y
        tried = torch.zeros(len(y), self.card.d_sae, dtype=torch.bool, device=y.device)
        chosen = tried.clone()
        noise = _NOISE * torch.linalg.vector_norm(y, dim=1, keepdim=True)
        for step in range(steps):
            sizes = (rest @ self.W_dec.T).abs_().masked_fill_(tried, -1)
            atom = sizes.argmax(dim=1, keepdim=True)
            tried.scatter_(1, atom, True)
            direction = _less_projection(self.W_dec[atom.squeeze(1)], basis[:, :step])
            length = torch.linalg.vector_norm(direction, dim=1, keepdim=True)
            useful = (length**2 > SPANNED) & (sizes.gather(1, atom) > noise)
            direction = torch.where(useful, direction / length.clamp_min(SPANNED), 0)
            rest = rest - (rest * direction).sum(1, keepdim=True) * direction
            basis[:, step] = direction
            chosen.scatter_(1, atom, useful)
        return chosen


def _less_projection(
    vectors: Float[Tensor, "token d"], basis: Float[Tensor, "token step d"]
) -> Float[Tensor, "token d"]:
    """`vectors` minus their parts in the span of the orthonormal (or 0) rows of `basis`, subtracted twice."""
    for _ in range(2):
        parts = basis @ vectors.unsqueeze(-1)
        vectors = vectors - (basis.mT @ parts).squeeze(-1)
    return vectors
