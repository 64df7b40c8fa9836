"""Differences between numbers: their intervals at any level, and their p values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtr, stdtrit

LEVEL = 0.05
"""Of the intervals that `Differences` holds, two-sided."""
SMALLEST_P = 1e-15
"""Smaller p values are not told from this one."""


class Differences(NamedTuple):
    """Differences with their error."""

    values: np.ndarray
    below: np.ndarray
    """Distances to the lower ends of the 95 % intervals; NaN where there is none."""
    above: np.ndarray
    degrees: np.ndarray
    """Student's degrees of freedom; infinite where the error is taken as normal."""

    def half_widths(self, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
        """The distances to both ends of the intervals that miss the truth in a share of `level`."""
        stretch = student_quantiles(self.degrees, level / 2) / student_quantiles(self.degrees, LEVEL / 2)
        return self.below * stretch, self.above * stretch

    def t_values(self) -> np.ndarray:
        """How many standard errors each is from 0; NaN where there is no interval."""
        distance = np.abs(self.values)
        half = np.where(self.values > 0, self.below, self.above)
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.where(distance == 0, 0.0, distance / half * student_quantiles(self.degrees, 1 - LEVEL / 2))
        return np.where(np.isfinite(half), t, np.nan)

    def p_values(self) -> np.ndarray:
        """The level at which each interval ends at 0, at least `SMALLEST_P`; NaN where there is no interval."""
        return np.maximum(2 * stdtr(self.degrees, -self.t_values()), SMALLEST_P)


def student_quantiles(degrees: np.ndarray, share: float) -> np.ndarray:
    """The quantile of each of these degrees of freedom, of which there are few different ones among many pairs."""
    if len(degrees) and np.all(degrees == degrees[0]):
        return np.full(len(degrees), stdtrit(degrees[0], share))
    different, place = np.unique(degrees, return_inverse=True)
    return stdtrit(different, share)[place]


_FEW = 8
"""Different degrees of freedom, up to which one quantile each is faster than a p value for each pair."""


class TestedTogether(NamedTuple):
    """Differences whose p values Benjamini & Hochberg adjust together."""

    pairs: int
    """Those with an interval."""
    level: float
    """At which each is tested."""


def discovery_level(p: np.ndarray, rate: float = LEVEL) -> float:
    """The level at which Benjamini & Hochberg test each of these p values: rate · R / m for R discoveries among m.

    Intervals at this level leave out 0 exactly where a difference is a discovery, and of the intervals of discoveries
    a share of `rate` at most is expected to miss the truth (Benjamini & Yekutieli, JASA 100, 2005). Without any
    discovery it is rate / m. NaN are left out of account.
    """
    known = np.sort(p[np.isfinite(p)])
    if not len(known):
        return rate
    passing = np.nonzero(known <= rate * np.arange(1, len(known) + 1) / len(known))[0]
    return rate * max(1, int(passing[-1]) + 1 if len(passing) else 0) / len(known)


def shared_discovery_level(differences: Sequence[Differences], rate: float = LEVEL) -> TestedTogether:
    """`discovery_level` of the p values of all of these, most of them not computed: of 500 SAEs there are millions.

    R(α) being how many p values are α at most, the level is the largest solution of α = rate · R(α) / m, which this
    step finds from above. Where many pairs share their degrees of freedom, p ≤ α is t ≥ one quantile.
    """
    p_values, t_values = [], []
    for one in differences:
        t = one.t_values()
        known = np.isfinite(t) | (t == np.inf)
        t, degrees = t[known], one.degrees[known]
        different = degrees[:1] if np.all(degrees == degrees[:1]) else np.unique(degrees)
        if len(different) > _FEW:
            p_values.append(one.p_values()[known])
        else:
            t_values += [(of_some, t[degrees == of_some]) for of_some in different]
    pairs = sum(map(len, p_values)) + sum(len(t) for _, t in t_values)

    def passing(level: float) -> int:
        by_t = (np.count_nonzero(t >= -stdtrit(degrees, level / 2)) for degrees, t in t_values)
        return sum(int(np.count_nonzero(p <= level)) for p in p_values) + sum(map(int, by_t))

    level, discoveries = rate, pairs
    while pairs and (fewer := passing(level)) < discoveries:
        level, discoveries = rate * max(1, fewer) / pairs, fewer
    return TestedTogether(pairs, level)
