"""Means of shares: of probes whose tests share examples, of cases that share sampling units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sae_research.metrics.groups import GROUPS, dealt
from sae_research.metrics.intervals import Estimate, estimate, jackknife


class ProbeTest(NamedTuple):
    """Which test examples one probe classifies correctly."""

    hits: np.ndarray
    """1 where the example is classified correctly."""
    examples: np.ndarray
    """The number of each example: the same in every test that uses it, and for every SAE."""

    @property
    def accuracy(self) -> float:
        """The share classified correctly."""
        return int(self.hits.sum()) / len(self.hits)


def mean_accuracy(tests: Sequence[ProbeTest]) -> Estimate:
    """The unweighted mean of the tests' accuracies, with Wilson's interval for the jackknife's standard error.

    A replicate leaves one of `GROUPS` groups of examples out of all tests; an example's number decides its group. So an
    example that serves several tests counts once.
    """
    value = math.fsum(test.accuracy for test in tests) / len(tests)
    replicates = np.mean([_without_each_group(test) for test in tests], axis=0)
    distinct = np.unique(np.concatenate([test.examples for test in tests]))
    return estimate(value, replicates, units=len(distinct))


def _without_each_group(test: ProbeTest) -> np.ndarray:
    """The accuracy on all examples but one group's, for each group."""
    groups = test.examples % GROUPS
    correct = np.bincount(groups, weights=test.hits, minlength=GROUPS)
    total = np.bincount(groups, minlength=GROUPS)
    with np.errstate(all="ignore"):
        return (correct.sum() - correct) / (total.sum() - total)


def mean_share(values: np.ndarray, units: Sequence[object] | None = None) -> Estimate:
    """The mean of `values`, all between 0 and 1, with Wilson's interval for the jackknife's standard error.

    `units` names the sampling unit of each value, by default a unit of its own; all values of a unit are left out
    together.
    """
    values = np.asarray(values, dtype=np.float64)
    unit_of = {unit: number for number, unit in enumerate(dict.fromkeys(units or range(len(values))))}
    numbers = np.array([unit_of[unit] for unit in units or range(len(values))])
    rows = {
        "sum": np.bincount(numbers, weights=values, minlength=len(unit_of)),
        "count": np.bincount(numbers, minlength=len(unit_of)).astype(np.float64),
    }
    groups, n = dealt(len(unit_of)), len(unit_of)
    return jackknife(rows, lambda s: {"mean": s["sum"] / s["count"]}, groups=groups, shares={"mean": n})["mean"]
