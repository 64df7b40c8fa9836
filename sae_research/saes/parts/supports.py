"""Codes on chosen supports: the atoms of each sequence gathered, its tokens fitted on them, the fit put in place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sae_research.saes.base import zero_masked
from sae_research.saes.parts.least_squares import least_squares
from sae_research.saes.parts.nonnegative import nonnegative_least_squares

Fit = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(y [seq token d], atoms [seq m d], sizes [seq]) -> coefficients [seq token m]."""


class Support(NamedTuple):
    """The atoms chosen in each sequence."""

    indices: Int[Tensor, "seq m"]
    """Ascending; after the first `sizes[b]` of row b comes padding."""
    sizes: Int[Tensor, " seq"]

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
) -> Float[Tensor, "seq token d_sae"]:
    """Codes of `y` that are 0 off the `chosen` atoms and fit best on them; of several such, the smallest.

    Non-negative: the best of those without a code below 0.
    """
    fit: Fit = nonnegative_least_squares if nonneg else least_squares
    sizes = chosen.sum(-1)
    codes = y.new_zeros(*y.shape[:2], len(W_dec))
    for rows in _of_similar_size(sizes):
        support = support_of(chosen[rows], sizes[rows])
        atoms = zero_masked(W_dec[support.indices], support.present)
        values = fit(y[rows], atoms, support.sizes)
        if len(rows) == 1:
            m = int(support.sizes)
            codes[int(rows)].index_copy_(1, support.indices[0, :m], values[0, :, :m])
        else:
            codes[rows] = _spread(values, support.indices, len(W_dec))
    return codes


def support_of(chosen: Bool[Tensor, "seq d_sae"], sizes: Int[Tensor, " seq"]) -> Support:
    """The chosen atoms as indices, padded to the largest support (at least one column)."""
    sequence, atom = chosen.nonzero(as_tuple=True)
    place = (chosen.cumsum(-1) - 1)[sequence, atom]
    indices = torch.zeros(len(chosen), max(1, int(sizes.max())), dtype=torch.long, device=chosen.device)
    indices[sequence, place] = atom
    return Support(indices, sizes)


def _of_similar_size(sizes: Int[Tensor, " seq"]) -> Iterator[Int[Tensor, " rows"]]:
    """The sequences in groups whose largest support is at most an eighth (and 8) above the smallest."""
    order = sizes.argsort(stable=True)
    start, ordered = 0, sizes[order].tolist()
    for end in range(1, len(ordered) + 1):
        if end == len(ordered) or ordered[end] > 1.125 * ordered[start] + 8:
            yield order[start:end]
            start = end


def _spread(
    values: Float[Tensor, "seq token m"], indices: Int[Tensor, "seq m"], width: int
) -> Float[Tensor, "seq token width"]:
    spread = values.new_zeros(*values.shape[:2], width)
    # Added, not set: padding repeats an index, with value 0.
    return spread.scatter_add_(-1, indices.unsqueeze(1).expand_as(values), values)
