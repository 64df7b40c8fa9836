"""Codes on chosen supports: gather the atoms of each sequence, fit its tokens on them, put the fit in its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sae_research.saes.solvers.least_squares import least_squares
from sae_research.saes.solvers.nonnegative import nonnegative_least_squares

# Numbers in the gathered atoms of sequences that are fitted together: what a CPU's cache holds, and a bound for a GPU.
_CACHED = 2**20
_HELD = 2**26

Fit = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(y [seq token d], atoms [seq m d], sizes [seq]) -> coefficients [seq token m]."""


class Support(NamedTuple):
    """The atoms chosen in each sequence."""

    indices: Int[Tensor, "seq m"]
    """Ascending; row b has `sizes[b]` of them, then padding with 0. Supports {2, 5} and {7}: [[2, 5], [7, 0]]."""
    sizes: Int[Tensor, " seq"]
    is_full: bool
    """Whether there is no padding."""

    @property
    def present(self) -> Bool[Tensor, "seq m"]:
        """Where `indices` is not padding."""
        return torch.arange(self.indices.shape[1], device=self.sizes.device) < self.sizes.unsqueeze(-1)


def codes_on(
    y: Float[Tensor, "seq token d_in"],
    W_dec: Float[Tensor, "d_sae d_in"],
    chosen: Bool[Tensor, "seq d_sae"],
    *,
    nonneg: bool,
    out: Float[Tensor, "seq token d_sae"],
) -> None:
    """Writes into `out` the best codes of `y` that are 0 outside the `chosen` atoms; of several such, the smallest.

    With `nonneg`, no code is below 0.
    """
    fit: Fit = nonnegative_least_squares if nonneg else least_squares
    sizes = chosen.sum(-1)
    out.zero_()
    for rows in _groups(sizes, each=W_dec.shape[1], budget=_CACHED if y.device.type == "cpu" else _HELD):
        whole = len(rows) == len(y)
        support = support_of(chosen if whole else chosen[rows], sizes if whole else sizes[rows])
        atoms = W_dec[support.indices]
        if not support.is_full:
            atoms.masked_fill_(~support.present.unsqueeze(-1), 0)
        values = fit(y if whole else y[rows], atoms, support.sizes)
        _put(out, rows, support, values)


def _put(codes: Float[Tensor, "seq token d_sae"], rows: Tensor, support: Support, values: Tensor) -> None:
    """Writes `values` into the sequences `rows` of `codes`, which are 0."""
    if values.shape[1] > 1:
        for row, indices, fitted in zip(rows.tolist(), support.indices, values, strict=True):
            # Added, not set: padding repeats an index, with value 0.
            codes[row].scatter_add_(1, indices.expand_as(fitted), fitted)
    else:
        sparse = values.new_zeros(len(rows), codes.shape[-1])
        codes[rows, 0] = sparse.scatter_add_(1, support.indices, values.squeeze(1))


def support_of(chosen: Bool[Tensor, "seq d_sae"], sizes: Int[Tensor, " seq"]) -> Support:
    """The chosen atoms as indices, padded to the largest support, with at least one column.

    For supports {2, 5} and {7}: the atoms in order are [2, 5, 7] of the sequences [0, 0, 1], whose first atoms stand at
    [0, 2]. So their columns are [0, 1, 2] - [0, 0, 2] = [0, 1, 0].
    """
    sequence, atom = chosen.nonzero(as_tuple=True)
    widest = max(1, int(sizes.max()))
    if len(atom) == widest * len(chosen):
        return Support(atom.reshape(-1, widest), sizes, is_full=True)
    indices = torch.zeros(len(chosen), widest, dtype=torch.long, device=chosen.device)
    column = torch.arange(len(atom), device=atom.device) - (sizes.cumsum(0) - sizes)[sequence]
    indices[sequence, column] = atom
    return Support(indices, sizes, is_full=False)


def _groups(sizes: Int[Tensor, " seq"], *, each: int, budget: int) -> Iterator[Int[Tensor, " rows"]]:
    """The sequences in groups to be fitted together, so that little is padded and memory is bounded.

    The supports of a group are at most an eighth (plus 8) larger than its smallest, and `each` numbers per atom stay
    within the budget. A single group is in the given order. Sizes [90, 3, 4] make two groups, [1, 2] and [0].
    """
    order = sizes.argsort(stable=True)
    start, ordered = 0, sizes[order].tolist()
    for end in range(1, len(ordered) + 1):
        alike = end < len(ordered) and ordered[end] <= 1.125 * ordered[start] + 8
        if not alike or (end + 1 - start) * ordered[end] * each > budget:
            yield order[start:end] if end - start < len(ordered) else order.sort().values
            start = end
