"""Rows in coordinates of the space they span, in which a fit with an L2 penalty has the same solution.

For a thousand texts with four thousand features a pass over the rows costs a quarter as much there.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

# Up to this many rows the Gram matrix costs less than it saves (measured with about 20 steps over 25 columns).
_MOST_ROWS = 2048
# Added to the Gram matrix's diagonal, times its mean: rows can be linearly dependent, and centred rows always are.
_RIDGE = 1e-9
_PANEL = 256


class RowSpace(NamedTuple):
    """`rows` rows^T = x x^T; w = lift(z) gives x w = rows z and ‖w‖ = ‖z‖."""

    rows: Float[Tensor, "n n"]
    factor: Float[Tensor, "n n"]
    """`rows` in float64."""
    x: Float[Tensor, "n features"]

    def lift(self, z: Float[Tensor, "n columns"]) -> Float[Tensor, "features columns"]:
        """The same weights on the features."""
        shares = torch.linalg.solve_triangular(self.factor.T, z.double(), upper=True)
        return self.x.T @ shares.to(self.x.dtype)


def row_space(x: Float[Tensor, "n features"]) -> RowSpace | None:
    """The row space of `x`; None where working in it would not pay off."""
    n, features = x.shape
    if x.device.type != "cpu" or n > _MOST_ROWS or 2 * n > features:
        return None
    gram = _gram(x)
    gram.diagonal().add_(_RIDGE * gram.diagonal().mean())
    factor, failed = torch.linalg.cholesky_ex(gram)
    return None if bool(failed) else RowSpace(factor.to(x.dtype), factor, x)


def _gram(x: Float[Tensor, "n features"]) -> Float[Tensor, "n n"]:
    """x x^T in float64 on and below the diagonal, which is all that Cholesky reads."""
    gram = torch.zeros(len(x), len(x), dtype=torch.float64, device=x.device)
    exact = x.double()
    for start in range(0, len(x), _PANEL):
        end = min(len(x), start + _PANEL)
        torch.mm(exact[start:end], exact[:end].T, out=gram[start:end, :end])
    return gram
