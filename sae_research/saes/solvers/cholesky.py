"""A Cholesky factor in the given order that leaves out rows which depend on earlier ones."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

# A unit atom counts as spanned by those before it if its squared distance to their span is at most this.
SPANNED = 1e-6
_BLOCK = 32


class Factor(NamedTuple):
    """L with L L^T = gram on the rows and columns that are kept; the others are those of the identity."""

    lower: Float[Tensor, "batch n n"]
    is_kept: Bool[Tensor, "batch n"]


def independent_cholesky(gram: Float[Tensor, "batch n n"]) -> Factor:
    """The factor of the Gram matrix of unit atoms, block by block.

    A row is kept if the kept ones before it leave it a pivot above `SPANNED`; an atom of all 0 is not.
    """
    n = gram.shape[-1]
    lower = torch.eye(n, dtype=gram.dtype, device=gram.device).expand_as(gram).clone()
    is_kept = torch.zeros(gram.shape[:2], dtype=torch.bool, device=gram.device)
    for start in range(0, n, _BLOCK):
        block = slice(start, min(n, start + _BLOCK))
        before = torch.linalg.solve_triangular(lower[:, :start, :start], gram[:, :start, block], upper=False)
        before = torch.where(is_kept[:, :start, None], before, 0)
        diagonal = _unblocked(gram[:, block, block] - before.mT @ before)
        lower[:, block, :start] = torch.where(diagonal.is_kept.unsqueeze(-1), before.mT, 0)
        lower[:, block, block], is_kept[:, block] = diagonal
    return Factor(lower, is_kept)


def _unblocked(rest: Float[Tensor, "batch n n"]) -> Factor:
    """The same of one block; overwrites `rest`."""
    lower, is_kept = torch.zeros_like(rest), torch.zeros(rest.shape[:2], dtype=torch.bool, device=rest.device)
    for i in range(rest.shape[-1]):
        pivot = rest[:, i, i]
        is_kept[:, i] = pivot > SPANNED
        scale = torch.where(is_kept[:, i], pivot.clamp_min(SPANNED).rsqrt(), 0)
        column = rest[:, i:, i] * scale.unsqueeze(-1)
        lower[:, i:, i] = column
        rest[:, i:, i:] -= column.unsqueeze(-1) * column.unsqueeze(-2)
    # A row that is not kept has entries from the columns before its pivot.
    identity = torch.eye(rest.shape[-1], dtype=rest.dtype, device=rest.device)
    return Factor(torch.where(is_kept.unsqueeze(-1), lower, identity), is_kept)
