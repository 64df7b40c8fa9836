"""Groups of sampling units that jackknife replicates leave out, one group at a time: the same for every SAE."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

GROUPS = 32
"""At most so many: the standard error of 32 is off by an eighth of itself, Student's quantile is 2.04."""
_GROUPS_PER_LONGEST = 1.5
"""So many groups for each time that the longest document fits into the text. A group that is much larger than the
others makes intervals too narrow (`python -m benchmarks.coverage`)."""


class Grouping(NamedTuple):
    """Which units are left out together."""

    of_unit: np.ndarray
    """The group of each unit, from 0."""
    n: int
    """The number of groups; some may be empty."""


def consecutive(n: int, most: int = GROUPS) -> Grouping:
    """Runs of (nearly) equally many units, at most `most` of them."""
    groups = min(most, n)
    return Grouping(np.arange(n) * groups // max(1, n), groups)


def dealt(n: int, most: int = GROUPS) -> Grouping:
    """Units dealt in turn, so that a group has some of every kind where kinds follow one another."""
    groups = min(most, n)
    return Grouping(np.arange(n) % max(1, groups), groups)


def by_number(numbers: np.ndarray) -> Grouping:
    """Units dealt in turn by a number that each has: a text's is the same wherever it is used."""
    return Grouping(numbers % GROUPS, GROUPS)


def whole_documents(documents: np.ndarray) -> Grouping:
    """Rows grouped by the document that each begins in (numbers that never fall), no document divided.

    Groups are about equally long. There are at most `GROUPS`, and fewer where the longest document would be larger than
    the others.
    """
    _, of_row, lengths = np.unique(documents, return_inverse=True, return_counts=True)
    rows = len(documents)
    most = min(GROUPS, len(lengths), max(1, int(_GROUPS_PER_LONGEST * rows / lengths.max())))
    middles = np.cumsum(lengths) - lengths / 2
    occupied, of_document = np.unique(np.floor(middles / rows * most), return_inverse=True)
    return Grouping(of_document[of_row], len(occupied))


def sum_by_group(rows: np.ndarray, groups: Grouping) -> np.ndarray:
    """(groups, ...): the sum of the rows of each group."""
    order = np.argsort(groups.of_unit, kind="stable")
    present, starts = np.unique(groups.of_unit[order], return_index=True)
    sums = np.zeros((groups.n, *rows.shape[1:]), dtype=np.result_type(rows, np.float64))
    sums[present] = np.add.reduceat(rows[order], starts, axis=0)
    return sums
