"""Differences between numbers: their intervals at any level, and their p values."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import stdtr, stdtrit

LEVEL = 0.05
"""Of the half widths that `Differences` holds, two-sided."""
SMALLEST_P = 1e-15
"""Smaller p values are not told from this one."""
_HALVINGS = 40


class Differences(NamedTuple):
    """Differences with their error: a main part, and the spread over seeds, which are added in quadrature."""

    values: np.ndarray
    below: np.ndarray
    """Distances to the lower ends of the main part's 95 % intervals; NaN where there is none."""
    above: np.ndarray
    degrees: np.ndarray
    """Student's degrees of freedom of the main part; infinite where it is taken as normal."""
    seeds: np.ndarray
    """Half widths of the spread over seeds; 0 where nothing was repeated."""
    seeds_degrees: int = 1

    def half_widths(self, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
        """The distances to both ends of the intervals that miss the truth in a share of `level`."""
        main, seeds = self._stretch(np.full(self.values.shape, level))
        return np.hypot(self.below * main, self.seeds * seeds), np.hypot(self.above * main, self.seeds * seeds)

    def p_values(self) -> np.ndarray:
        """The level at which each interval ends at 0, at least `SMALLEST_P`; NaN where there is no interval."""
        distance = np.abs(self.values)
        half = np.where(self.values > 0, self.below, self.above)
        # Halving the logarithm: the interval at a level that is too small contains 0.
        low, high = np.full(half.shape, np.log(SMALLEST_P)), np.zeros(half.shape)
        for _ in range(_HALVINGS if self.seeds.any() else 0):
            middle = (low + high) / 2
            main, seeds = self._stretch(np.exp(middle))
            contains = np.hypot(half * main, self.seeds * seeds) >= distance
            low, high = np.where(contains, middle, low), np.where(contains, high, middle)
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.where(distance == 0, 0.0, distance / half * stdtrit(self.degrees, 1 - LEVEL / 2))
        plain = np.maximum(2 * stdtr(self.degrees, -t), SMALLEST_P)
        p = np.where(self.seeds > 0, np.where(distance == 0, 1.0, np.exp(high)), plain)
        return np.where(np.isfinite(half), p, np.nan)

    def _stretch(self, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How many times as wide as at 95 % both parts are at these levels."""

        def ratio(degrees: np.ndarray | float) -> np.ndarray:
            return stdtrit(degrees, levels / 2) / stdtrit(degrees, LEVEL / 2)

        return ratio(self.degrees), ratio(float(self.seeds_degrees))


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
