"""95 % intervals from replicates that leave out one group of sampling units each; Wilson's for shares; averages."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from scipy.special import stdtrit

from sae_research.metrics.groups import Grouping, consecutive, sum_by_group

Sums = Mapping[str, Any]
"""Additive quantities by name: totals (scalars or vectors), or one total per replicate along the first axis."""

Bounds = tuple[float, float]
"""The smallest and the largest value that a quantity can have."""

_TAIL = 0.975  # Of a two-sided 95 % interval.
_Z = 1.959963984540054  # The 97.5 % quantile of the normal distribution.
_ROUNDING = 1e-12  # A standard error below this is that of rounding alone.
_ANY: Bounds = (-math.inf, math.inf)
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Estimate(NamedTuple):
    """A number with its 95 % interval; the ends are None where there is none."""

    value: float
    low: float | None = None
    high: float | None = None
    replicates: tuple[float, ...] = ()
    """The number without one group of units, for each group. Groups are the same for all SAEs, so the replicates of two
    SAEs can be compared pairwise. Empty where that is undefined."""


def jackknife(
    rows: Mapping[str, np.ndarray],
    statistic: Callable[[Sums], Sums],
    *,
    groups: Grouping | None = None,
    bounds: Mapping[str, Bounds] = _NOTHING,
    shares: Mapping[str, int] = _NOTHING,
    least: Mapping[str, float] = _NOTHING,
) -> dict[str, Estimate]:
    """Every number that `statistic` computes from the sums of `rows`, with the interval of `estimate`.

    `rows` holds, under each name, one additive contribution per sampling unit along the first axis; `groups` says
    which are left out together, by default runs of consecutive units. `statistic` must accept totals as well as a stack
    of totals (one per group left out) and reduce trailing axes only. By number: `bounds`, the units of `shares`, and
    the `least` standard error.
    """
    totals = {name: row.sum(axis=0) for name, row in rows.items()}
    groups = consecutive(len(next(iter(rows.values())))) if groups is None else groups
    with np.errstate(all="ignore"):
        values = {name: float(value) for name, value in statistic(totals).items()}
        if groups.n < 2:
            return {name: Estimate(value) for name, value in values.items()}
        replicates = statistic({name: totals[name] - sum_by_group(row, groups) for name, row in rows.items()})
    return {
        name: estimate(
            value,
            np.asarray(replicates[name]),
            bounds=bounds.get(name, _ANY),
            units=shares.get(name),
            least=least.get(name, 0.0),
        )
        for name, value in values.items()
    }


def estimate(
    value: float,
    replicates: np.ndarray | Sequence[float],
    *,
    bounds: Bounds = _ANY,
    units: int | None = None,
    least: float = 0.0,
) -> Estimate:
    """`value` with the 95 % interval of a jackknife with these replicates, which leave out one of G groups each.

    SE² = (G-1)/G Σ (θ_(-g) - mean θ_(-.))², at least `least`²; value ± t_{G-1} SE, cut off at `bounds`. Where `value`
    is a share, or a mean of shares, of so many sampling `units`: Wilson's interval for as many independent units as
    have the same SE, and for `units` of them where no group makes a difference. Without an interval where a replicate
    is not finite.
    """
    usable = as_replicates(replicates)
    if not usable or not math.isfinite(value):
        return Estimate(value)
    quantile = float(stdtrit(len(usable) - 1, _TAIL))
    error = max(float(standard_errors(np.asarray(usable))), least)
    if units is None:
        low, high = value - quantile * error, value + quantile * error
    else:
        spread = value * (1 - value)
        low, high = _wilson_ends(value, spread / error**2 if error > _ROUNDING and spread > 0 else units, quantile)
    return Estimate(value, min(value, max(low, bounds[0])), max(value, min(high, bounds[1])), usable)


def as_replicates(values: np.ndarray | Sequence[float]) -> tuple[float, ...]:
    """`values` as `Estimate.replicates`: none at all where one of them is not finite."""
    array = np.asarray(values, dtype=np.float64)
    return tuple(array.tolist()) if array.ndim == 1 and len(array) > 1 and np.isfinite(array).all() else ()


def standard_errors(replicates: np.ndarray) -> np.ndarray:
    """Those of a jackknife with these G replicates along the last axis."""
    n = replicates.shape[-1]
    squares = np.sum((replicates - replicates.mean(axis=-1, keepdims=True)) ** 2, axis=-1)
    return np.sqrt((n - 1) / n * squares)


def half_widths(replicates: np.ndarray) -> np.ndarray:
    """Half of the 95 % interval t_{G-1} SE of a jackknife with these G replicates along the last axis."""
    return stdtrit(replicates.shape[-1] - 1, _TAIL) * standard_errors(replicates)


def mean_half_widths(values: np.ndarray) -> np.ndarray:
    """Half of Student's 95 % interval of the mean along the last axis: t_{n-1} s / √n."""
    n = values.shape[-1]
    return stdtrit(n - 1, _TAIL) * values.std(axis=-1, ddof=1) / math.sqrt(n)


def paired_difference(a: Estimate, b: Estimate) -> Estimate | None:
    """a - b with the interval of a jackknife over the units that both were measured on.

    None where either has no replicates, or their units were not grouped in the same way.
    """
    if not a.replicates or len(a.replicates) != len(b.replicates):
        return None
    return estimate(a.value - b.value, np.asarray(a.replicates) - np.asarray(b.replicates))


def wilson(correct: int, total: int) -> Estimate:
    """The share `correct / total` of independent cases with Wilson's score interval."""
    if total < 1:
        raise ValueError(f"a share needs at least one case, got {correct} of {total}")
    share = correct / total
    low, high = _wilson_ends(share, total, _Z)
    return Estimate(share, min(share, low), max(share, high))


def _wilson_ends(share: float, units: float, quantile: float) -> tuple[float, float]:
    scale = 1 + quantile**2 / units
    middle = (share + quantile**2 / (2 * units)) / scale
    half = quantile / scale * math.sqrt(share * (1 - share) / units + quantile**2 / (4 * units**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def average(estimates: Sequence[Estimate], weights: Sequence[float] | None = None) -> Estimate:
    """The mean of independent estimates; the weighted distances to their ends add in quadrature (MOVER).

    `weights` add up to 1, by default all alike. Each replicate leaves the same group out of all estimates.

    Zou & Donner, "Construction of confidence limits about effect measures", Statistics in Medicine 27 (2008).
    """
    weights = [1 / len(estimates)] * len(estimates) if weights is None else weights
    value = math.fsum(w * e.value for w, e in zip(weights, estimates, strict=True))
    same_groups = len({len(e.replicates) for e in estimates}) == 1
    replicates = as_replicates(np.asarray(weights) @ np.array([e.replicates for e in estimates])) if same_groups else ()
    below, above = (_quadrature(estimates, weights, end) for end in ("low", "high"))
    if below is None or above is None:
        return Estimate(value, replicates=replicates)
    return Estimate(value, value - below, value + above, replicates)


def _quadrature(estimates: Sequence[Estimate], weights: Sequence[float], end: str) -> float | None:
    """The root of the sum of squared weighted distances from values to ends; None where an end is missing."""
    total = 0.0
    for one, weight in zip(estimates, weights, strict=True):
        limit: float | None = getattr(one, end)
        if limit is None:
            return None
        total += (weight * (one.value - limit)) ** 2
    return math.sqrt(total)
