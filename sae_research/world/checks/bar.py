"""One bar: a measured number with its interval, and the bounds it must lie within."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sae_research.metrics.intervals import Estimate

_Z = 1.96
_RESAMPLES = 1000

Verdict = Literal["met", "open", "missed"]


@dataclass(frozen=True)
class Bar:
    """A number of one world, which must lie between `at_least` and `at_most` where these are set."""

    name: str
    estimate: Estimate
    at_least: float | None = None
    at_most: float | None = None

    @property
    def verdict(self) -> Verdict | None:
        """`met`: the whole interval lies within the bounds; `open`: the value alone does. None without bounds."""
        if self.at_least is None and self.at_most is None:
            return None
        value, low, high = self.estimate[:3]
        if not self._within(value):
            return "missed"
        return "met" if all(end is None or self._within(end) for end in (low, high)) else "open"

    def _within(self, value: float) -> bool:
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)

    @property
    def requirement(self) -> str:
        """The requirement in words; empty where the number is only reported."""
        bounds = ((">=", self.at_least), ("<=", self.at_most))
        return " and ".join(f"{sign} {bound:g}" for sign, bound in bounds if bound is not None)


def mean_estimate(values: Sequence[float] | np.ndarray) -> Estimate:
    """The mean of independent values with its normal interval."""
    array = np.asarray(values, dtype=np.float64)
    half = _Z * float(array.std(ddof=1)) / len(array) ** 0.5 if len(array) > 1 else 0.0
    return Estimate(float(array.mean()), float(array.mean()) - half, float(array.mean()) + half)


def bootstrapped(value: float, resampled: Sequence[float]) -> Estimate:
    """`value` with the middle 95 % of `resampled`."""
    low, high = np.percentile(np.asarray(resampled), [2.5, 97.5])
    return Estimate(value, float(low), float(high))


def resamples(n: int, *, seed: int) -> np.ndarray:
    """Row numbers of bootstrap samples of `n` rows, one sample per line."""
    return np.random.Generator(np.random.PCG64(seed)).integers(0, n, size=(_RESAMPLES, n))


def markdown_table(bars_by_seed: Mapping[int, Sequence[Bar]]) -> str:
    """One line per bar, one column per seed; bold: the value misses its bar, italic: the interval leaves it open."""
    seeds = list(bars_by_seed)
    lines = [
        "| bar | " + " | ".join(f"seed {seed}" for seed in seeds) + " | required | verdict |",
        "|---" * (len(seeds) + 3) + "|",
    ]
    for bars in zip(*bars_by_seed.values(), strict=True):
        verdicts = {bar.verdict for bar in bars}
        worst = next((verdict for verdict in ("missed", "open", "met") if verdict in verdicts), "")
        cells = " | ".join(_cell(bar) for bar in bars)
        lines.append(f"| {bars[0].name} | {cells} | {bars[0].requirement or 'reported'} | {worst} |")
    return "\n".join(lines) + "\n"


def _cell(bar: Bar) -> str:
    value, low, high = bar.estimate[:3]
    text = (
        "no value"
        if math.isnan(value)
        else f"{value:.3f}"
        if low is None or high is None
        else f"{value:.3f} [{low:.3f}, {high:.3f}]"
    )
    mark = {"missed": "**", "open": "*"}.get(bar.verdict or "", "")
    return f"{mark}{text}{mark}"
