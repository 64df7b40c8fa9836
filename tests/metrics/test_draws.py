"""Means over seeds: by hand, and whether their intervals cover test texts and draws."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.linalg import hadamard

from sae_research.metrics.accuracies import ProbeTest, mean_accuracy
from sae_research.metrics.draws import Repeated, average_repeated, error_over_draws, over_seeds
from sae_research.metrics.intervals import Estimate, estimate


def _drawn(values: list[float], replicates: list[list[float]]) -> Repeated:
    by_seed = {s: estimate(v, r) for s, (v, r) in enumerate(zip(values, replicates, strict=True))}
    return over_seeds(by_seed)


def test_draws_that_share_nothing_are_students_mean_of_the_draws() -> None:
    """What a group of texts does to one draw has nothing to do with another draw: texts are in s² already."""
    changes = 0.001 * hadamard(8)[1:5]
    values = np.array([0.8, 0.9, 0.7, 0.8])
    error = error_over_draws(values, values[:, None] + changes)
    assert error.standard_error == pytest.approx(np.std(values, ddof=1) / 2)
    assert error.degrees == pytest.approx(3, rel=0.01)


def test_draws_that_agree_have_the_error_of_their_test_units() -> None:
    replicates = [[0.7, 0.8, 0.9, 0.8]] * 3
    same = _drawn([0.8, 0.8, 0.8], replicates)
    assert same.spread == pytest.approx(0)
    assert same.with_draws()[:3] == pytest.approx(estimate(0.8, replicates[0])[:3])


def test_the_draws_own_spread_is_added() -> None:
    """The same texts in all draws: V = V₁, so that all of s² is the draws' own."""
    change = np.array([-0.01, 0.0, 0.01, 0.0])
    values = [0.7, 0.8, 0.9]
    number = _drawn(values, [(v + change).tolist() for v in values])
    units = 3 / 4 * 0.0002
    spread = 0.01 / 3
    degrees = (units + spread) ** 2 / (units**2 / 3 + spread**2 / 2)
    half = stats.t.ppf(0.975, degrees) * np.sqrt(units + spread)
    assert number.with_draws()[:3] == pytest.approx((0.8, 0.8 - half, 0.8 + half))
    assert number.with_draws((0.0, 0.85)).high == 0.85
    assert number.spread == pytest.approx(0.1)


def test_one_seed_changes_nothing() -> None:
    alone = Repeated(Estimate(0.85, 0.8, 0.88, (0.1, 0.2)), {7: Estimate(0.85, 0.8, 0.88, (0.1, 0.2))})
    assert alone.with_draws() == alone.mean
    assert average_repeated([alone]).with_draws()[:3] == pytest.approx(alone.mean[:3])


def test_a_number_that_a_seed_lacks_counts_for_the_others() -> None:
    both, one = _drawn([0.5, 0.7], [[0.4, 0.6], [0.6, 0.8]]), _drawn([0.1], [[0.0, 0.2]])
    number = average_repeated([both, one])
    assert {seed: drawn.value for seed, drawn in number.by_seed.items()} == pytest.approx({0: 0.3, 1: 0.7})
    assert number.mean.value == pytest.approx(0.5)
    assert number.mean.replicates == pytest.approx((0.4, 0.6))
    assert number.mean.low is not None and number.mean.low < 0.5


@pytest.mark.parametrize(("pool", "spread"), [(400, 0.0), (400, 0.03), (800, 0.03), (4000, 0.0), (4000, 0.03)])
def test_draws_are_covered(pool: int, spread: float) -> None:
    """Five draws of 200 texts, some or none of them shared, with probes that differ: 95 times in 100, and not more."""
    rng = np.random.default_rng(0)
    inside, trials = 0, 500
    for _ in range(trials):
        hard = rng.random(pool)
        tests = []
        for truth in 0.8 + spread * rng.normal(size=5):
            texts = rng.permutation(pool)[:200]
            tests.append(ProbeTest(rng.random(200) > 2 * (1 - truth) * hard[texts], texts))
        number = Repeated(mean_accuracy(tests), {s: mean_accuracy([test]) for s, test in enumerate(tests)})
        interval = number.with_draws((0.0, 1.0))
        assert interval.low is not None
        assert interval.high is not None
        inside += interval.low <= 0.8 <= interval.high
    assert 0.93 <= inside / trials <= 0.975
