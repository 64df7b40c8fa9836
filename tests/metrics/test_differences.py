"""Differences: what their intervals and p values have in common, by independent formulas."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from sae_research.metrics.differences import SMALLEST_P, Differences, discovery_level, shared_discovery_level
from sae_research.metrics.reliability import benjamini_hochberg


def _differences(values: list[float], halves: list[float], degrees: float) -> Differences:
    half = np.array(halves)
    return Differences(np.array(values), half, half, np.full(len(values), degrees))


def test_p_is_that_of_students_t() -> None:
    rng = np.random.default_rng(0)
    draws = rng.normal(0.3, 1.0, size=(5, 32))
    means = draws.mean(axis=1)
    halves = stats.t.ppf(0.975, 31) * stats.sem(draws, axis=1)
    p = _differences(means.tolist(), halves.tolist(), 31).p_values()
    assert p == pytest.approx(stats.ttest_1samp(draws, 0, axis=1)[1])


def test_of_intervals_alone_p_is_that_of_a_normal() -> None:
    sides = Differences(np.array([1.0, -1.0]), np.array([0.5, 9.0]), np.array([9.0, 0.8]), np.full(2, np.inf))
    expected = [2 * stats.norm.sf(1.96 * 1 / 0.5), 2 * stats.norm.sf(1.96 * 1 / 0.8)]
    assert sides.p_values() == pytest.approx(expected, rel=1e-3), "by the side on which 0 lies"


@pytest.mark.parametrize("degrees", [3.7, 31])
def test_an_interval_at_the_level_p_ends_at_0(degrees: float) -> None:
    differences = _differences([0.9, -0.9, 2.5, 0.1], [0.5, 0.5, 0.9, 1.0], degrees)
    for value, p in zip(differences.values, differences.p_values(), strict=True):
        below, above = differences.half_widths(float(p))
        place = list(differences.values).index(value)
        assert (below if value > 0 else above)[place] == pytest.approx(abs(value), rel=1e-6)


def test_extremes_are_numbers() -> None:
    p = _differences([0.0, 1e9, 1.0], [0.4, 1e-9, float("nan")], 31).p_values()
    assert p[0] == 1.0
    assert p[1] == SMALLEST_P
    assert np.isnan(p[2])
    equal = _differences([0.0, 0.2], [0.0, 0.0], 31).p_values()
    assert list(equal) == [1.0, SMALLEST_P], "an interval without width"


def test_a_discovery_is_what_passes_its_level() -> None:
    p = np.array([0.001, 0.008, 0.039, 0.041, 0.042, 0.06, 0.9, np.nan])
    level = discovery_level(p)
    assert level == pytest.approx(0.05 * 2 / 7), "0.008 ≤ 0.05 · 2/7, and no larger p passes"
    assert list(p[:7] <= level) == list(benjamini_hochberg(p[:7]) <= 0.05)
    assert discovery_level(np.array([0.9, 0.5])) == 0.025
    assert discovery_level(np.array([])) == 0.05


@pytest.mark.parametrize("effect", [0.0, 0.3, 1.0, 5.0])
def test_a_shared_level_is_that_of_all_p_values_together(effect: float) -> None:
    rng = np.random.default_rng(3)
    several = []
    for degrees in (np.full(300, 31.0), np.full(40, np.inf), rng.uniform(2, 40, size=200), np.full(3, 31.0)):
        half = rng.uniform(0.5, 2, size=(2, len(degrees)))
        half[:, :2] = np.nan
        several.append(Differences(rng.normal(effect, 1, size=len(degrees)), half[0], half[1], degrees))
    p = np.concatenate([one.p_values() for one in several])
    pairs, level = shared_discovery_level(several)
    assert (pairs, level) == (int(np.isfinite(p).sum()), pytest.approx(discovery_level(p), rel=1e-12))
    assert shared_discovery_level([]) == (0, 0.05)
