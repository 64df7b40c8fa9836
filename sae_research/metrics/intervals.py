"""95 % intervals: jackknife over sampling units, Wilson for accuracies, and averages of accuracies."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from scipy.special import stdtrit

Sums = Mapping[str, Any]
"""Additive quantities by name: totals (scalars or vectors), or one such total per replicate along the first axis."""

Bounds = tuple[float, float]
"""The least and the greatest number that a quantity can be."""

_LEVEL = 0.95
_Z = 1.959963984540054  # The 97.5 % quantile of the normal distribution.


class Estimate(NamedTuple):
    """A number with its 95 % interval; the ends are None where there is none."""

    value: float
    low: float | None = None
    high: float | None = None


def jackknife(
    rows: Mapping[str, np.ndarray],
    statistic: Callable[[Sums], Sums],
    *,
    bounds: Mapping[str, Bounds] = MappingProxyType({}),
) -> dict[str, Estimate]:
    """Every number that `statistic` makes of the sums of `rows`, with a delete-one Student interval.

    `rows` holds, under each name, one additive contribution per independent unit (sequence, group of sequences) along
    the first axis. `statistic` must accept totals as well as a stack of totals (one per left-out unit) and reduce
    trailing axes only. SE² = (n-1)/n Σ (θ_(-i) - mean θ_(-.))²; θ ± t_{n-1} SE, cut off at the quantity's `bounds`.
    Deterministic.
    """
    totals = {name: row.sum(axis=0) for name, row in rows.items()}
    n = len(next(iter(rows.values())))
    with np.errstate(all="ignore"):
        values = {name: float(value) for name, value in statistic(totals).items()}
        if n < 2:
            return {name: Estimate(value) for name, value in values.items()}
        replicates = statistic({name: totals[name] - row for name, row in rows.items()})
        t = float(stdtrit(n - 1, 0.5 + _LEVEL / 2))
        found = {name: _around(value, np.asarray(replicates[name]), t) for name, value in values.items()}
    return {name: _within(estimate, bounds[name]) if name in bounds else estimate for name, estimate in found.items()}


def _within(estimate: Estimate, bounds: Bounds) -> Estimate:
    """The interval without what lies outside `bounds`; it always holds the value."""
    value, low, high = estimate
    if low is None or high is None:
        return estimate
    return Estimate(value, min(value, max(low, bounds[0])), max(value, min(high, bounds[1])))


def _around(value: float, replicates: np.ndarray, t: float) -> Estimate:
    n = len(replicates)
    spread = math.sqrt((n - 1) / n * float(np.sum((replicates - replicates.mean()) ** 2)))
    if not math.isfinite(value) or not math.isfinite(spread):
        return Estimate(value)
    return Estimate(value, value - t * spread, value + t * spread)


def wilson(correct: int, total: int) -> Estimate:
    """The share `correct / total` with Wilson's score interval."""
    if total < 1:
        raise ValueError(f"a share needs at least one case, got {correct} of {total}")
    share = correct / total
    scale = 1 + _Z**2 / total
    middle = (share + _Z**2 / (2 * total)) / scale
    half = _Z / scale * math.sqrt(share * (1 - share) / total + _Z**2 / (4 * total**2))
    return Estimate(share, max(0.0, middle - half), min(1.0, middle + half))


def average(estimates: Sequence[Estimate]) -> Estimate:
    """The unweighted mean of independent estimates; their distances to the ends add in quadrature (MOVER).

    Zou & Donner, "Construction of confidence limits about effect measures", Statistics in Medicine 27 (2008).
    """
    n = len(estimates)
    value = math.fsum(e.value for e in estimates) / n
    below, above = _quadrature(estimates, "low"), _quadrature(estimates, "high")
    if below is None or above is None:
        return Estimate(value)
    return Estimate(value, value - below / n, value + above / n)


def _quadrature(estimates: Sequence[Estimate], end: str) -> float | None:
    """The root of the summed squares of the distances between values and ends; None where an end is missing."""
    total = 0.0
    for estimate in estimates:
        limit: float | None = getattr(estimate, end)
        if limit is None:
            return None
        total += (estimate.value - limit) ** 2
    return math.sqrt(total)
