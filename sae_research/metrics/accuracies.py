"""Means of accuracies whose tests share examples, over several draws where asked: value, 95 % interval, replicates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sae_research.metrics.intervals import GROUPS, Bounds, Estimate, as_replicates, mean_half_widths, wilson


class Judged(NamedTuple):
    """A classifier's test."""

    hits: np.ndarray
    """1 where an example was judged right."""
    examples: np.ndarray
    """The number of each example, the same one wherever it is used, and for every SAE."""

    @property
    def correct(self) -> int:
        """Examples judged right."""
        return int(self.hits.sum())

    @property
    def total(self) -> int:
        """Examples judged."""
        return len(self.hits)

    @property
    def share(self) -> float:
        """The accuracy."""
        return self.correct / self.total


def mean_accuracy(tests: Sequence[Judged]) -> Estimate:
    """The unweighted mean of the tests' accuracies.

    Wilson's distances of each test add as those of correlated estimates do (MOVER): (Σ_ij r_ij δ_i δ_j)^½ / tests, r_ij
    the correlation of two accuracies by the examples that they share. A replicate leaves out one of `GROUPS` groups
    of examples from all tests; examples are dealt to the groups by their number.

    Zou & Donner, "Construction of confidence limits about effect measures", Statistics in Medicine 27 (2008).
    """
    n = len(tests)
    parts = [wilson(test.correct, test.total) for test in tests]
    value = math.fsum(part.value for part in parts) / n
    shared = _correlations(tests)
    below, above = (
        np.array([abs(part.value - (end or 0.0)) for part, end in zip(parts, ends, strict=True)])
        for ends in ([part.low for part in parts], [part.high for part in parts])
    )
    low, high = (math.sqrt(max(0.0, float(d @ shared @ d))) / n for d in (below, above))
    replicates = as_replicates(np.mean([_without_groups(test) for test in tests], axis=0))
    return Estimate(value, value - low, value + high, replicates)


def _without_groups(test: Judged) -> np.ndarray:
    """The accuracy without each group of examples."""
    groups = test.examples % GROUPS
    correct = np.bincount(groups, weights=test.hits, minlength=GROUPS)
    total = np.bincount(groups, minlength=GROUPS)
    with np.errstate(all="ignore"):
        return (correct.sum() - correct) / (total.sum() - total)


def _correlations(tests: Sequence[Judged]) -> np.ndarray:
    """(tests, tests): the correlation of two accuracies; of one without a miss or a hit, the largest it may be."""
    _, places = np.unique(np.concatenate([test.examples for test in tests]), return_inverse=True)
    owners = np.repeat(np.arange(len(tests)), [test.total for test in tests])
    present, centred = np.zeros((2, places.max() + 1, len(tests)))
    present[places, owners] = 1.0
    centred[places, owners] = np.concatenate([test.hits - test.share for test in tests])
    spread = np.sqrt((centred**2).sum(axis=0))
    size = np.sqrt(present.sum(axis=0))
    largest = present.T @ present / np.outer(size, size)
    known = np.outer(spread, spread)
    return np.divide(centred.T @ centred, known, out=largest, where=known > 0)


def seed_spread(values: Sequence[float]) -> float:
    """The standard deviation over seeds (n - 1)."""
    return float(np.std(values, ddof=1))


def with_seeds(estimate: Estimate, values: Sequence[float], *, bounds: Bounds = (0.0, 1.0)) -> Estimate:
    """`estimate`, the mean over seeds, with an interval that covers the seeds' spread too; `values` by seed.

    The distances to the ends become (δ² + (t_{S-1} s / √S)²)^½ within `bounds`.
    """
    if len(values) < 2 or estimate.low is None or estimate.high is None:
        return estimate
    extra = float(mean_half_widths(np.asarray(values)))
    low = estimate.value - math.hypot(estimate.value - estimate.low, extra)
    high = estimate.value + math.hypot(estimate.high - estimate.value, extra)
    return estimate._replace(low=max(low, bounds[0]), high=min(high, bounds[1]))
