"""Means of accuracies: by hand, against independent formulas, and whether their intervals cover."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sae_research.metrics.accuracies import ProbeTest, mean_accuracy, seed_spread, with_seeds
from sae_research.metrics.intervals import GROUPS, Estimate, average, wilson


def _test(hits: list[int], first: int = 0) -> ProbeTest:
    return ProbeTest(np.array(hits, dtype=bool), first + np.arange(len(hits)))


def _ends(estimate: Estimate) -> tuple[float, float]:
    assert estimate.low is not None
    assert estimate.high is not None
    return estimate.low, estimate.high


def test_tests_on_other_examples_add_as_independent_ones() -> None:
    tests = [_test([1, 1, 0, 1]), _test([1, 0, 0, 1, 1], 4)]
    assert mean_accuracy(tests)[:3] == pytest.approx(average([wilson(3, 4), wilson(3, 5)])[:3])


def test_two_tests_that_always_agree_are_no_more_than_one() -> None:
    test = _test([1, 1, 0, 1])
    assert mean_accuracy([test, test])[:3] == pytest.approx(wilson(3, 4)[:3])
    faultless = _test([1, 1, 1])
    assert mean_accuracy([faultless, faultless])[:3] == pytest.approx(wilson(3, 3)[:3])


def test_two_tests_of_which_always_one_fails_have_no_spread() -> None:
    mean = mean_accuracy([_test([1, 0, 1, 0]), _test([0, 1, 0, 1])])
    assert mean[:3] == pytest.approx((0.5, 0.5, 0.5))


def test_the_correlation_by_hand() -> None:
    """Of each test one half is shared; on it both miss the same one of two."""
    mean = mean_accuracy([_test([1, 1, 1, 0]), _test([1, 0, 1, 1], 2)])
    # Deviations from 3/4: shared (1/4, -3/4) in both; Σ² of each test 3/4.
    correlation = (1 / 16 + 9 / 16) / (3 / 4)
    part = wilson(3, 4)
    below = (part.value - _ends(part)[0]) * math.sqrt(2 + 2 * correlation) / 2
    assert mean.low == pytest.approx(0.75 - below)


def test_a_replicate_leaves_out_the_same_examples_of_all_tests() -> None:
    rng = np.random.default_rng(0)
    tests = [ProbeTest(rng.random(n) < 0.8, rng.permutation(500)[:n]) for n in (300, 200)]
    average_of = mean_accuracy(tests)
    assert len(average_of.replicates) == GROUPS
    for group, replicate in enumerate(average_of.replicates):
        kept = [test.hits[test.examples % GROUPS != group].mean() for test in tests]
        assert replicate == pytest.approx(np.mean(kept))


def test_examples_of_one_class_after_the_other_do_not_inflate_the_replicates() -> None:
    """Positives are easy, negatives hard: groups of one kind alone would differ by far more than chance."""
    rng = np.random.default_rng(0)
    hits = np.concatenate([rng.random(512) < 0.99, rng.random(512) < 0.7])
    replicates = np.array(mean_accuracy([ProbeTest(hits, np.arange(1024))]).replicates)
    error = math.sqrt((GROUPS - 1) / GROUPS * np.sum((replicates - replicates.mean()) ** 2))
    assert error < 1.3 * math.sqrt((0.99 * 0.01 + 0.7 * 0.3) / 2 / 1024)


def test_spread_over_seeds_by_hand() -> None:
    assert seed_spread([0.8, 0.9]) == pytest.approx(0.1 / math.sqrt(2))
    extra = 12.706204736 * 0.1 / 2  # t_1 at 97.5 %, s/√2 = 0.05
    widened = with_seeds(Estimate(0.85, 0.8, 0.88, (0.1, 0.2)), [0.8, 0.9], bounds=(-1, 3))
    assert widened[:3] == pytest.approx((0.85, 0.85 - math.hypot(0.05, extra), 0.85 + math.hypot(0.03, extra)))
    assert with_seeds(widened, [0.8, 0.9]).high == 1, "no accuracy is above 1"
    assert widened.replicates == (0.1, 0.2)


def test_one_seed_changes_nothing() -> None:
    estimate = Estimate(0.85, 0.8, 0.88)
    assert with_seeds(estimate, [0.85]) == estimate
    assert with_seeds(Estimate(0.85), [0.8, 0.9]) == Estimate(0.85)


def test_tasks_over_shared_texts_are_covered() -> None:
    """Three tasks over the same 300 texts, hard texts hard for all: the interval holds the truth 95 times in 100."""
    rng = np.random.default_rng(0)
    inside, apart, trials = 0, 0, 600
    for _ in range(trials):
        hard = rng.random(300)
        tests = [ProbeTest(rng.random(300) > 0.4 * hard**2 * 3 / 2, np.arange(300)) for _ in range(3)]
        low, high = _ends(mean_accuracy(tests))
        inside += low <= 0.8 <= high
        low, high = _ends(average([wilson(test.correct, test.total) for test in tests]))
        apart += low <= 0.8 <= high
    assert 0.93 <= inside / trials <= 0.975
    assert apart < inside, "taken for independent, they would cover less"


def test_seeds_are_covered() -> None:
    """Five seeds with a spread of their own, each with other examples: never less than 95 times in 100."""
    rng = np.random.default_rng(0)
    inside, trials = 0, 400
    for _ in range(trials):
        truths = 0.8 + 0.02 * rng.normal(size=5)
        tests = [ProbeTest(rng.random(400) < truth, 400 * s + np.arange(400)) for s, truth in enumerate(truths)]
        low, high = _ends(with_seeds(mean_accuracy(tests), [test.accuracy for test in tests]))
        inside += low <= 0.8 <= high
    assert inside / trials >= 0.95
