"""Differences between numbers: their intervals at any level, and their p values."""

from __future__ import annotations

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
        stretch = stdtrit(self.degrees, level / 2) / stdtrit(self.degrees, LEVEL / 2)
        return self.below * stretch, self.above * stretch

    def p_values(self) -> np.ndarray:
        """The level at which each interval ends at 0, at least `SMALLEST_P`; NaN where there is no interval."""
        distance = np.abs(self.values)
        half = np.where(self.values > 0, self.below, self.above)
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.where(distance == 0, 0.0, distance / half * stdtrit(self.degrees, 1 - LEVEL / 2))
        return np.where(np.isfinite(half), np.maximum(2 * stdtr(self.degrees, -t), SMALLEST_P), np.nan)


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
