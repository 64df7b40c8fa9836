"""Mean accuracy of probes whose tests share examples, over one draw or several: value, 95 % interval, replicates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sae_research.metrics.intervals import GROUPS, Bounds, Estimate, as_replicates, mean_half_widths, wilson


class ProbeTest(NamedTuple):
    """Which test examples one probe classifies correctly."""

    hits: np.ndarray
    """1 where the example is classified correctly."""
    examples: np.ndarray
    """The number of each example: the same in every test that uses it, and for every SAE."""

    @property
    def correct(self) -> int:
        """Examples classified correctly."""
        return int(self.hits.sum())

    @property
    def total(self) -> int:
        """Examples tested."""
        return len(self.hits)

    @property
    def accuracy(self) -> float:
        """Their share."""
        return self.correct / self.total


def mean_accuracy(tests: Sequence[ProbeTest]) -> Estimate:
    """The unweighted mean of the tests' accuracies.

    The interval combines the tests' Wilson intervals (MOVER): its half width is (Σ_ij r_ij δ_i δ_j)^½ / tests, with δ_i
    the half width of test i and r_ij the correlation of two accuracies over the examples that they share. A replicate
    leaves one of `GROUPS` groups of examples out of all tests; an example's number decides its group.

    Zou & Donner, "Construction of confidence limits about effect measures", Statistics in Medicine 27 (2008).
    """
    n = len(tests)
    estimates = [wilson(test.correct, test.total) for test in tests]
    value = math.fsum(estimate.value for estimate in estimates) / n
    correlations = _correlations(tests)
    below, above = (
        np.array([abs(estimate.value - (end or 0.0)) for estimate, end in zip(estimates, ends, strict=True)])
        for ends in ([estimate.low for estimate in estimates], [estimate.high for estimate in estimates])
    )
    to_low, to_high = (math.sqrt(max(0.0, float(d @ correlations @ d))) / n for d in (below, above))
    replicates = as_replicates(np.mean([_without_each_group(test) for test in tests], axis=0))
    return Estimate(value, value - to_low, value + to_high, replicates)


def _without_each_group(test: ProbeTest) -> np.ndarray:
    """The accuracy on all examples but one group's, for each group."""
    groups = test.examples % GROUPS
    correct = np.bincount(groups, weights=test.hits, minlength=GROUPS)
    total = np.bincount(groups, minlength=GROUPS)
    with np.errstate(all="ignore"):
        return (correct.sum() - correct) / (total.sum() - total)


def _correlations(tests: Sequence[ProbeTest]) -> np.ndarray:
    """(tests, tests): the correlations of accuracies; the largest possible where a test has no miss or no hit."""
    _, places = np.unique(np.concatenate([test.examples for test in tests]), return_inverse=True)
    owners = np.repeat(np.arange(len(tests)), [test.total for test in tests])
    present, centred = np.zeros((2, places.max() + 1, len(tests)))
    present[places, owners] = 1.0
    centred[places, owners] = np.concatenate([test.hits - test.accuracy for test in tests])
    spread = np.sqrt((centred**2).sum(axis=0))
    size = np.sqrt(present.sum(axis=0))
    largest = present.T @ present / np.outer(size, size)
    spreads = np.outer(spread, spread)
    return np.divide(centred.T @ centred, spreads, out=largest, where=spreads > 0)


def seed_spread(values: Sequence[float]) -> float:
    """The standard deviation over seeds (n - 1)."""
    return float(np.std(values, ddof=1))


def with_seeds(estimate: Estimate, values: Sequence[float], *, bounds: Bounds = (0.0, 1.0)) -> Estimate:
    """`estimate`, a mean over seeds, with an interval that also covers the spread of `values`, one per seed.

    The distances to both ends become (δ² + (t_{S-1} s / √S)²)^½, cut off at `bounds`.
    """
    if len(values) < 2 or estimate.low is None or estimate.high is None:
        return estimate
    extra = float(mean_half_widths(np.asarray(values)))
    low = estimate.value - math.hypot(estimate.value - estimate.low, extra)
    high = estimate.value + math.hypot(estimate.high - estimate.value, extra)
    return estimate._replace(low=max(low, bounds[0]), high=min(high, bounds[1]))
