"""Rows of more features than fit into memory with their zeros; and what is done alike with them and with a tensor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_research.saes.codes import SparseCodes, joined, sparse_codes

# Rows of a block, and the most numbers that a block of sparse rows has with its zeros: 512 MiB in float32.
_ROWS = 1024
_BLOCK_ELEMENTS = 2**27


@dataclass(frozen=True)
class SparseRows:
    """Rows of features without their zeros, in the memory of the host; what is computed from them is on `device`."""

    codes: SparseCodes
    """A row's features ascend."""
    width: int
    """The number of features."""
    device: torch.device

    def __len__(self) -> int:
        return len(self.codes.counts)

    @classmethod
    def of(cls, blocks: Iterable[Float[Tensor, "some features"]], width: int, device: torch.device) -> SparseRows:
        """The rows of all `blocks`, one after the other."""
        return cls(joined(without_zeros(block) for block in blocks), width, device)

    def take(self, rows: Int[Tensor, " some"]) -> SparseRows:
        """Some rows, in the given order."""
        return SparseRows(self.codes.take(rows.cpu()), self.width, self.device)

    def columns(self, features: Int[Tensor, " some"]) -> Float[Tensor, "rows some"]:
        """Some features, which must all differ, with their zeros."""
        return self.codes.columns(features.cpu(), self.width).to(self.device)

    def features(self) -> Int[Tensor, " some"]:
        """The features that are not 0 in every row, ascending."""
        return torch.bincount(self.codes.latents, minlength=self.width).nonzero().squeeze(1).to(self.device)

    def blocks(self) -> Iterator[tuple[slice, Float[Tensor, "some features"]]]:
        """All rows with their zeros, a few after the other, and which they are."""
        step = max(1, min(_ROWS, _BLOCK_ELEMENTS // self.width))
        for start in range(0, len(self), step):
            part = slice(start, min(start + step, len(self)))
            codes = self.codes.take(torch.arange(part.start, part.stop))
            yield part, SparseCodes(*(values.to(self.device) for values in codes)).dense(self.width)


Rows = Float[Tensor, "rows features"] | SparseRows
"""Rows of features."""


def without_zeros(rows: Float[Tensor, "some features"]) -> SparseCodes:
    """The values other than 0, in the memory of the host."""
    counts, features, values = sparse_codes(rows)
    return SparseCodes(counts.cpu(), features.int().cpu(), values.cpu())


def n_features(x: Rows) -> int:
    """The number of features."""
    return x.width if isinstance(x, SparseRows) else x.shape[1]


def take_rows(x: Rows, rows: Int[Tensor, " some"]) -> Rows:
    """Some rows, in the given order; of a tensor no copy where they are neighbours in order."""
    if isinstance(x, SparseRows):
        return x.take(rows)
    if len(rows) and bool((rows == torch.arange(int(rows[0]), int(rows[0]) + len(rows), device=rows.device)).all()):
        return x[int(rows[0]) : int(rows[0]) + len(rows)]
    return x[rows.to(x.device)]


def take_columns(x: Rows, features: Int[Tensor, " some"]) -> Float[Tensor, "rows some"]:
    """Some features, which must all differ."""
    return x.columns(features) if isinstance(x, SparseRows) else x[:, features]


def weighted_sums(x: Rows, weights: Float[Tensor, "sums rows"]) -> Float[Tensor, "sums features"]:
    """Sums of the rows, each with its weight, in float64."""
    sums = torch.zeros(len(weights), n_features(x), dtype=torch.float64, device=x.device)
    for part, block in x.blocks() if isinstance(x, SparseRows) else _dense_blocks(x):
        sums += weights[:, part] @ block.double()
    return sums


def _dense_blocks(x: Float[Tensor, "rows features"]) -> Iterator[tuple[slice, Tensor]]:
    for start in range(0, len(x), _ROWS):
        part = slice(start, min(start + _ROWS, len(x)))
        yield part, x[part]
