"""OMP: orthogonal matching pursuit (Pati et al. 1993), at most s atoms per token, all refitted at every step.

As matching pursuit, but what is left of a token is made orthogonal to all atoms taken so far, so that none is taken
twice and the codes are the least-squares fit on the support. The projections come from an orthonormal basis of the
atoms taken, grown by one vector a step (Gram and Schmidt, twice, which is as good as Householder's), and the codes
from one fit at the end: nothing here squares the condition number, as the Cholesky form (Rubinstein et al. 2008) does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sae_research.errors import UserError
from sae_research.saes.base import Sae, SaeCard, Shapes
from sae_research.saes.build import check_unit_atoms, read_settings, with_settings
from sae_research.saes.pursuit.sequences import encode_sequences
from sae_research.saes.pursuit.supports import codes_on
from sae_research.saes.solvers.cholesky import SPANNED

# A correlation below this share of the token's norm is rounding of float32: the token is represented exactly.
_NOISE = 1e-6


@dataclass(frozen=True)
class Settings:
    """Options of OMP."""

    s: int
    """Atoms per token, at most."""


@final
class OmpSae(Sae):
    """S = {}, r = x - b_dec; s times: S += argmax |D r| (lowest on ties), r -= its projection on D_S; codes fit S."""

    settings_type = Settings
    shapes: ClassVar[Shapes] = {"W_dec": ("d_sae", "d_in"), "b_dec": ("d_in",)}

    def __init__(self, card: SaeCard, tensors: Mapping[str, Tensor]) -> None:
        settings = read_settings(Settings, card)
        if settings.s < 1:
            raise UserError(f"SAE {card.name!r}: s is {settings.s}, expected at least 1 atom per token")
        super().__init__(with_settings(card, settings), tensors)
        check_unit_atoms(card, self.W_dec)
        self.settings = settings

    def encode(
        self, x: Float[Tensor, "*batch d_in"], mask: Bool[Tensor, "*batch"] | None = None
    ) -> Float[Tensor, "*batch d_sae"]:
        tokens, real = x.reshape(-1, x.shape[-1]), None if mask is None else mask.reshape(-1)
        codes = encode_sequences(self, tokens, real, self._encode, per_token=self._steps, most=self.card.d_sae)
        return codes.reshape(*x.shape[:-1], self.card.d_sae)

    @property
    def _steps(self) -> int:
        """More atoms than dimensions never help."""
        return min(self.settings.s, self.card.d_in, self.card.d_sae)

    def _encode(self, y: Float[Tensor, "seq 1 d_in"], codes: Float[Tensor, "seq 1 d_sae"]) -> None:
        codes_on(y, self.W_dec, self._supports(y.squeeze(1)), nonneg=False, out=codes)

    def _supports(self, y: Float[Tensor, "token d_in"]) -> Bool[Tensor, "token d_sae"]:
        basis, rest = y.new_zeros(len(y), self._steps, y.shape[1]), y
        tried = torch.zeros(len(y), self.card.d_sae, dtype=torch.bool, device=y.device)
        chosen = tried.clone()
        noise = _NOISE * torch.linalg.vector_norm(y, dim=1, keepdim=True)
        for step in range(self._steps):
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
    """`vectors` less their parts in the span of the orthonormal (or 0) rows of `basis`, taken off twice."""
    for _ in range(2):
        parts = basis @ vectors.unsqueeze(-1)
        vectors = vectors - (basis.mT @ parts).squeeze(-1)
    return vectors
