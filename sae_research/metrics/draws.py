"""Numbers over repeated draws: the mean over seeds, and its error from test units and from draws."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from sae_research.metrics.intervals import Bounds, Estimate, as_replicates, average, estimate, standard_errors

_TAIL = 0.975


class DrawnError(NamedTuple):
    """The error of a mean over draws."""

    standard_error: np.ndarray
    degrees: np.ndarray
    """Student's degrees of freedom."""

    @property
    def half_widths(self) -> np.ndarray:
        """Half of the 95 % interval."""
        return stdtrit(self.degrees, _TAIL) * self.standard_error


def error_over_draws(values: np.ndarray, replicates: np.ndarray) -> DrawnError:
    """The error of the mean of `values` (..., S), one of each draw, whose replicates are (..., S, G).

    Draws differ by what they draw, and by the test units that they do not share. The jackknife of the mean, V, covers
    test units, each once however many draws it is in. With V₁ the mean of the draws' own jackknife variances, the
    covariance of two draws through shared units is c = (S V - V₁) / (S - 1), between 0 and V₁, so that units make
    V₁ - c of the variance s² over draws. What is left of s² belongs to the draws:
    SE² = V + max(0, s² - (V₁ - c)) / S, with Satterthwaite's degrees of freedom from G - 1 for V and S - 1 for s².
    """
    draws, groups = replicates.shape[-2:]
    units = standard_errors(replicates.mean(axis=-2)) ** 2
    single = (standard_errors(replicates) ** 2).mean(axis=-1)
    shared = np.clip((draws * units - single) / (draws - 1), 0.0, single)
    spread = values.var(axis=-1, ddof=1)
    of_draws = np.maximum(0.0, spread - (single - shared)) / draws
    total = units + of_draws
    uncertain = units**2 / (groups - 1) + np.where(of_draws > 0, (spread / draws) ** 2 / (draws - 1), 0.0)
    degrees = np.divide(total**2, uncertain, out=np.full_like(total, groups - 1.0), where=uncertain > 0)
    return DrawnError(np.sqrt(total), np.maximum(degrees, 1.0))


class Repeated(NamedTuple):
    """A number over seeds."""

    mean: Estimate
    """The mean over seeds; its interval covers test units only."""
    by_seed: Mapping[int, Estimate]

    @property
    def spread(self) -> float:
        """The standard deviation over seeds (n - 1)."""
        return float(np.std([drawn.value for drawn in self.by_seed.values()], ddof=1))

    def with_draws(self, bounds: Bounds = (-math.inf, math.inf)) -> Estimate:
        """The mean with an interval that covers the draws too.

        The distances to both ends grow in quadrature by what `error_over_draws` adds to the jackknife's t SE.
        """
        drawn, mean = list(self.by_seed.values()), self.mean
        alike = len({len(d.replicates) for d in drawn}) == 1 and bool(drawn[0].replicates)
        if len(drawn) < 2 or mean.low is None or mean.high is None or not alike:
            return mean
        replicates = np.array([d.replicates for d in drawn])
        whole = float(error_over_draws(np.array([d.value for d in drawn]), replicates).half_widths)
        units = float(stdtrit(replicates.shape[1] - 1, _TAIL) * standard_errors(replicates.mean(axis=0)))
        extra = math.sqrt(max(0.0, whole**2 - units**2))
        low = mean.value - math.hypot(mean.value - mean.low, extra)
        high = mean.value + math.hypot(mean.high - mean.value, extra)
        return mean._replace(low=max(low, bounds[0]), high=min(high, bounds[1]))


def over_seeds(by_seed: Mapping[int, Estimate], *, units: int | None = None, least: float = 0.0) -> Repeated:
    """The mean of one number under several seeds; `units` and `least` as in `estimate`."""
    drawn = list(by_seed.values())
    if len(drawn) == 1:
        return Repeated(drawn[0], by_seed)
    value = math.fsum(d.value for d in drawn) / len(drawn)
    alike = len({len(d.replicates) for d in drawn}) == 1
    replicates = as_replicates(np.mean([d.replicates for d in drawn], axis=0)) if alike else ()
    return Repeated(estimate(value, replicates, units=units, least=least), by_seed)


def average_repeated(numbers: Sequence[Repeated]) -> Repeated:
    """The mean over seeds of the unweighted mean of the independent numbers that a seed has."""
    seeds = dict.fromkeys(seed for number in numbers for seed in number.by_seed)
    by_seed = {seed: average([n.by_seed[seed] for n in numbers if seed in n.by_seed]) for seed in seeds}
    # A number that some seeds lack weighs less.
    shares = [
        [(seed in n.by_seed) / sum(seed in other.by_seed for other in numbers) for seed in seeds] for n in numbers
    ]
    mean = average(
        [number.mean for number in numbers], weights=[math.fsum(by_seed_share) / len(seeds) for by_seed_share in shares]
    )
    over = over_seeds(by_seed).mean
    if len(seeds) == 1 or mean.low is None or mean.high is None:
        return Repeated(mean if len(seeds) == 1 else over, by_seed)
    shift = over.value - mean.value
    return Repeated(Estimate(over.value, mean.low + shift, mean.high + shift, over.replicates), by_seed)
