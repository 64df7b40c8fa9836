"""95 % intervals: jackknife over sampling units, Wilson for accuracies, and averages of accuracies."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from scipy.special import stdtrit

Sums = Mapping[str, Any]
"""Additive quantities by name: totals (scalars or vectors), or one total per replicate along the first axis."""

Bounds = tuple[float, float]
"""The smallest and the largest value that a quantity can have."""

_LEVEL = 0.95
_Z = 1.959963984540054  # The 97.5 % quantile of the normal distribution.


GROUPS = 32
"""Groups of sampling units that `Estimate.replicates` leave out, one at a time."""


class Estimate(NamedTuple):
    """A number with its 95 % interval; the ends are None where there is none."""

    value: float
    low: float | None = None
    high: float | None = None
    replicates: tuple[float, ...] = ()
    """The number without one group of units, for each group. Units are grouped by their order, in the same way for all
    SAEs, so the replicates of two SAEs can be compared pairwise. Empty where that is undefined."""


def jackknife(
    rows: Mapping[str, np.ndarray],
    statistic: Callable[[Sums], Sums],
    *,
    bounds: Mapping[str, Bounds] = MappingProxyType({}),
) -> dict[str, Estimate]:
    """Every number that `statistic` computes from the sums of `rows`, with a delete-one Student interval.

    `rows` holds, under each name, one additive contribution per independent unit (sequence, group of sequences) along
    the first axis. `statistic` must accept totals as well as a stack of totals (one per unit left out) and reduce
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
        grouped = statistic({name: totals[name] - sum_groups(row) for name, row in rows.items()})
    estimates = {
        name: _around(value, np.asarray(replicates[name]))._replace(replicates=as_replicates(grouped[name]))
        for name, value in values.items()
    }
    return {
        name: _within(estimate, bounds[name]) if name in bounds else estimate for name, estimate in estimates.items()
    }


def sum_groups(rows: np.ndarray) -> np.ndarray:
    """The sums over groups of consecutive units, at most `GROUPS` groups of (nearly) equal size."""
    n = len(rows)
    n_groups = min(GROUPS, n)
    return np.add.reduceat(rows, np.arange(n_groups) * n // n_groups, axis=0)


def as_replicates(values: np.ndarray | Sequence[float]) -> tuple[float, ...]:
    """`values` as `Estimate.replicates`: none at all where one of them is not finite."""
    array = np.asarray(values, dtype=np.float64)
    return tuple(array.tolist()) if array.ndim == 1 and len(array) > 1 and np.isfinite(array).all() else ()


def paired_difference(a: Estimate, b: Estimate) -> Estimate | None:
    """a - b with the interval of a delete-a-group jackknife over the units that both were measured on.

    None where either has no replicates, or their units were not grouped in the same way.
    """
    if not a.replicates or len(a.replicates) != len(b.replicates):
        return None
    differences = np.asarray(a.replicates) - np.asarray(b.replicates)
    return _around(a.value - b.value, differences)._replace(replicates=tuple(differences.tolist()))


def _within(estimate: Estimate, bounds: Bounds) -> Estimate:
    """The interval cut off at `bounds`; it always contains the value."""
    value, low, high = estimate.value, estimate.low, estimate.high
    if low is None or high is None:
        return estimate
    return estimate._replace(low=min(value, max(low, bounds[0])), high=max(value, min(high, bounds[1])))


def _around(value: float, replicates: np.ndarray) -> Estimate:
    """`value` ± t SE, with the standard error of a jackknife with these replicates."""
    if not math.isfinite(value) or not np.isfinite(replicates).all():
        return Estimate(value)
    half = float(half_widths(replicates))
    return Estimate(value, value - half, value + half)


def half_widths(replicates: np.ndarray) -> np.ndarray:
    """Half of the 95 % interval t_{n-1} SE of a jackknife with these n replicates along the last axis."""
    n = replicates.shape[-1]
    squares = np.sum((replicates - replicates.mean(axis=-1, keepdims=True)) ** 2, axis=-1)
    return stdtrit(n - 1, 0.5 + _LEVEL / 2) * np.sqrt((n - 1) / n * squares)


def mean_half_widths(values: np.ndarray) -> np.ndarray:
    """Half of Student's 95 % interval of the mean along the last axis: t_{n-1} s / √n."""
    n = values.shape[-1]
    return stdtrit(n - 1, 0.5 + _LEVEL / 2) * values.std(axis=-1, ddof=1) / math.sqrt(n)


def wilson(correct: int, total: int) -> Estimate:
    """The share `correct / total` with Wilson's score interval."""
    if total < 1:
        raise ValueError(f"a share needs at least one case, got {correct} of {total}")
    share = correct / total
    scale = 1 + _Z**2 / total
    middle = (share + _Z**2 / (2 * total)) / scale
    half = _Z / scale * math.sqrt(share * (1 - share) / total + _Z**2 / (4 * total**2))
    return Estimate(share, min(share, max(0.0, middle - half)), max(share, min(1.0, middle + half)))


def accuracy(hits: np.ndarray) -> Estimate:
    """The share of `hits`, which are 1 where a test example was classified correctly, with Wilson's interval."""
    hits = np.asarray(hits, dtype=np.float64)
    correct, total = sum_groups(hits), sum_groups(np.ones_like(hits))
    with np.errstate(all="ignore"):
        replicates = (correct.sum() - correct) / (total.sum() - total)
    return wilson(int(correct.sum()), len(hits))._replace(replicates=as_replicates(replicates))


def average(estimates: Sequence[Estimate]) -> Estimate:
    """The unweighted mean of independent estimates; the distances to their ends add in quadrature (MOVER).

    Each of its replicates leaves the same group out of all of them.

    Zou & Donner, "Construction of confidence limits about effect measures", Statistics in Medicine 27 (2008).
    """
    n = len(estimates)
    value = math.fsum(e.value for e in estimates) / n
    same_groups = len({len(e.replicates) for e in estimates}) == 1
    replicates = as_replicates(np.mean([e.replicates for e in estimates], axis=0)) if same_groups else ()
    below, above = _quadrature(estimates, "low"), _quadrature(estimates, "high")
    if below is None or above is None:
        return Estimate(value, replicates=replicates)
    return Estimate(value, value - below / n, value + above / n, replicates)


def _quadrature(estimates: Sequence[Estimate], end: str) -> float | None:
    """The root of the sum of squared distances from values to ends; None where an end is missing."""
    total = 0.0
    for estimate in estimates:
        limit: float | None = getattr(estimate, end)
        if limit is None:
            return None
        total += (estimate.value - limit) ** 2
    return math.sqrt(total)
