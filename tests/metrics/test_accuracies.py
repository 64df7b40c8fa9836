"""Means of accuracies: by hand, against independent formulas, and whether their intervals cover."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sae_research.metrics.accuracies import ProbeTest, mean_accuracy
from sae_research.metrics.groups import GROUPS
from sae_research.metrics.intervals import Estimate, average


def _test(hits: list[int], first: int = 0) -> ProbeTest:
    return ProbeTest(np.array(hits, dtype=bool), first + np.arange(len(hits)))


def _ends(estimate: Estimate) -> tuple[float, float]:
    assert estimate.low is not None
    assert estimate.high is not None
    return estimate.low, estimate.high


def test_two_tests_that_always_agree_are_no_more_than_one() -> None:
    test = _test([1, 1, 0, 1] * 10)
    assert mean_accuracy([test, test]) == mean_accuracy([test])
    faultless = _test([1, 1, 1])
    assert mean_accuracy([faultless, faultless])[:3] == pytest.approx((1, 3 / (3 + 2.0395134463964077**2), 1))


def test_tests_on_other_examples_add_as_independent_ones() -> None:
    rng = np.random.default_rng(0)
    tests = [ProbeTest(rng.random(2000) < 0.8, first + np.arange(2000)) for first in (0, 2000)]
    low, high = _ends(mean_accuracy(tests))
    both = _ends(average([mean_accuracy([test]) for test in tests]))
    assert (high - low) == pytest.approx(both[1] - both[0], rel=0.35), "both from 32 groups"


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


def test_tasks_over_shared_texts_are_covered() -> None:
    """Three tasks over the same 300 texts, hard texts hard for all: the interval holds the truth 95 times in 100."""
    rng = np.random.default_rng(0)
    inside, apart, trials = 0, 0, 600
    for _ in range(trials):
        hard = rng.random(300)
        tests = [ProbeTest(rng.random(300) > 0.4 * hard**2 * 3 / 2, np.arange(300)) for _ in range(3)]
        low, high = _ends(mean_accuracy(tests))
        inside += low <= 0.8 <= high
        low, high = _ends(average([mean_accuracy([test]) for test in tests]))
        apart += low <= 0.8 <= high
    assert 0.93 <= inside / trials <= 0.975
    assert apart < inside, "taken for independent, they would cover less"
