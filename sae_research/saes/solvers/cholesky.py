"""A Cholesky factor in the given order that leaves out what depends on what came before."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

# Squared distance of a unit atom to the span of those before it, at or below which it counts as spanned.
SPANNED = 1e-6
_BLOCK = 32


class Factor(NamedTuple):
    """L with L L^T = gram on the `kept` rows and columns; the other rows and columns are those of the identity."""

    lower: Float[Tensor, "batch n n"]
    kept: Bool[Tensor, "batch n"]


def independent_cholesky(gram: Float[Tensor, "batch n n"]) -> Factor:
    """The factor of `gram` (unit atoms; all 0 counts as dependent), each row kept if the kept ones before leave it
    a pivot above `SPANNED`."""
    n = gram.shape[-1]
    lower = torch.eye(n, dtype=gram.dtype, device=gram.device).expand_as(gram).clone()
    kept = torch.zeros(gram.shape[:2], dtype=torch.bool, device=gram.device)
    for start in range(0, n, _BLOCK):
        block = slice(start, min(n, start + _BLOCK))
        before = torch.linalg.solve_triangular(lower[:, :start, :start], gram[:, :start, block], upper=False)
        before = torch.where(kept[:, :start, None], before, 0)
        own = _unblocked(gram[:, block, block] - before.mT @ before)
        lower[:, block, :start] = torch.where(own.kept.unsqueeze(-1), before.mT, 0)
        lower[:, block, block], kept[:, block] = own
    return Factor(lower, kept)


def _unblocked(rest: Float[Tensor, "batch n n"]) -> Factor:
    lower, kept = torch.zeros_like(rest), torch.zeros(rest.shape[:2], dtype=torch.bool, device=rest.device)
    for i in range(rest.shape[-1]):
        pivot = rest[:, i, i]
        kept[:, i] = pivot > SPANNED
        scale = torch.where(kept[:, i], pivot.clamp_min(SPANNED).rsqrt(), 0)
        column = rest[:, i:, i] * scale.unsqueeze(-1)
        lower[:, i:, i] = column
        rest[:, i:, i:] -= column.unsqueeze(-1) * column.unsqueeze(-2)
    # A row that is not kept has entries from before its pivot was seen.
    identity = torch.eye(rest.shape[-1], dtype=rest.dtype, device=rest.device)
    return Factor(torch.where(kept.unsqueeze(-1), lower, identity), kept)
