"""Intervals: by hand, against known values, and whether they cover what they should."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sae_research.evals.core.formulas import BOUNDS, estimate_densities
from sae_research.evals.core.specs import CORE_SPECS
from sae_research.metrics.accuracies import mean_share
from sae_research.metrics.groups import Grouping, consecutive
from sae_research.metrics.intervals import Estimate, Sums, average, estimate, jackknife, paired_difference, wilson


def _ratio(s: Sums) -> Sums:
    return {"ratio": s["a"] / s["b"]}


def test_jackknife_of_a_mean_is_the_student_interval() -> None:
    values = np.array([1.0, 2.0, 4.0, 9.0])
    estimate = jackknife({"a": values, "b": np.ones(4)}, _ratio)["ratio"]
    half = 3.182446305284263 * values.std(ddof=1) / 2  # t_3 at 97.5 %, over the root of 4
    assert estimate[:3] == pytest.approx((4.0, 4 - half, 4 + half))
    assert estimate.replicates == pytest.approx((5, 14 / 3, 4, 7 / 3))


def test_an_interval_ends_where_the_quantity_does() -> None:
    values = np.array([0.0, 1.0, 1.0, 1.0])
    rows = {"a": values, "b": np.ones(4)}
    free = jackknife(rows, _ratio)["ratio"]
    assert free.low is not None
    assert free.high is not None
    assert free.low < 0 < 1 < free.high
    assert jackknife(rows, _ratio, bounds={"ratio": (0.0, 1.0)})["ratio"][:3] == (0.75, 0.0, 1.0)
    assert jackknife(rows, _ratio, bounds={"ratio": (-math.inf, 1.0)})["ratio"][:3] == (0.75, free.low, 1.0)
    assert jackknife(rows, _ratio, bounds={"ratio": (0.0, 0.7)})["ratio"].high == 0.75, "never below its value"


def test_shares_of_latents_have_intervals_within_0_and_1() -> None:
    fired = np.array([[5.0, 0.0, 0.0], [0.0, 5.0, 0.0], [5.0, 0.0, 1.0]])
    estimates = estimate_densities(fired, np.full(3, 10.0))
    assert estimates["frac_alive"].value == 1
    for name, (value, low, high, _) in estimates.items():
        if name == "normalized_freq_over_1_percent":
            assert (value, low) == (1, None), "every latent that fires does so often, in all resamples"
            continue
        assert low is not None
        assert high is not None
        assert 0 <= low < high <= 1


def test_every_bound_is_that_of_a_metric() -> None:
    assert set(BOUNDS) <= {spec.name for spec in CORE_SPECS}


def test_one_unit_has_no_interval() -> None:
    assert jackknife({"a": np.array([3.0]), "b": np.array([2.0])}, _ratio) == {"ratio": Estimate(1.5)}


def test_undefined_replicates_leave_no_interval() -> None:
    estimate = jackknife({"a": np.array([1.0, 1.0]), "b": np.array([1.0, 0.0])}, _ratio)["ratio"]
    assert estimate == Estimate(2.0)
    assert math.isnan(jackknife({"a": np.zeros(2), "b": np.zeros(2)}, _ratio)["ratio"].value)


def test_jackknife_over_vectors() -> None:
    rows = {"a": np.array([[1.0, 0.0], [3.0, 2.0]]), "b": np.array([2.0, 2.0])}
    estimate = jackknife(rows, lambda s: {"share": (s["a"] / np.asarray(s["b"])[..., None] > 0.6).mean(axis=-1)})
    assert estimate["share"].value == 0.5
    assert estimate["share"].low is not None


def test_jackknife_covers() -> None:
    """A ratio of correlated sums over 40 units: the interval holds the truth about 95 times in 100."""
    rng = np.random.default_rng(0)
    inside, n = 0, 1000
    for _ in range(n):
        b = rng.gamma(5.0, size=40)
        a = 2 * b + rng.normal(size=40) * b
        estimate = jackknife({"a": a, "b": b}, _ratio)["ratio"]
        assert estimate.low is not None
        assert estimate.high is not None
        inside += estimate.low <= 2 <= estimate.high
    assert 0.93 <= inside / n <= 0.97


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"), [(0, 10, 0, 0.27753), (5, 10, 0.23659, 0.76341), (10, 10, 0.72247, 1)]
)
def test_wilson(correct: int, total: int, low: float, high: float) -> None:
    assert wilson(correct, total)[:3] == pytest.approx((correct / total, low, high), abs=1e-5)


def test_wilson_needs_cases() -> None:
    with pytest.raises(ValueError, match="at least one case"):
        wilson(0, 0)


def test_average_by_hand() -> None:
    mean = average([Estimate(0.5, 0.4, 0.6), Estimate(0.9, 0.6, 0.94)])
    assert mean[:3] == pytest.approx((0.7, 0.7 - math.hypot(0.1, 0.3) / 2, 0.7 + math.hypot(0.1, 0.04) / 2))
    assert average([Estimate(0.5, 0.4, 0.6), Estimate(0.9)]) == Estimate(0.7)


def test_average_of_accuracies_covers() -> None:
    rng = np.random.default_rng(0)
    truth = np.array([0.6, 0.8, 0.95])
    hits = rng.binomial(100, truth, size=(1000, 3))
    inside = 0
    for row in hits:
        average_of = average([wilson(int(k), 100) for k in row])
        assert average_of.low is not None
        assert average_of.high is not None
        inside += average_of.low <= truth.mean() <= average_of.high
    assert 0.93 <= inside / 1000 <= 0.975


def test_the_difference_of_two_means_over_the_same_units_is_the_paired_t_interval() -> None:
    a, b = np.array([1.0, 2.0, 4.0, 9.0]), np.array([0.5, 2.5, 3.0, 6.0])
    difference = paired_difference(*(jackknife({"a": v, "b": np.ones(4)}, _ratio)["ratio"] for v in (a, b)))
    assert difference is not None
    half = 3.182446305284263 * (a - b).std(ddof=1) / 2
    assert difference[:3] == pytest.approx((1.0, 1.0 - half, 1.0 + half))


def test_numbers_on_other_units_have_no_paired_difference() -> None:
    four, five = (jackknife({"a": np.arange(n) + 1.0, "b": np.ones(n)}, _ratio)["ratio"] for n in (4, 5))
    assert paired_difference(four, five) is None
    assert paired_difference(four, Estimate(1.0, 0.0, 2.0)) is None


def test_pairing_is_sharper_where_both_fail_on_the_same_examples() -> None:
    generator = np.random.default_rng(0)
    hard = generator.random(640) < 0.3
    a, b = ~hard & (generator.random(640) < 0.98), ~hard & (generator.random(640) < 0.90)
    difference = paired_difference(mean_share(a), mean_share(b))
    assert difference is not None
    assert difference.low is not None
    assert difference.high is not None
    apart = math.hypot(*(e.value - (e.low or 0.0) for e in (wilson(int(a.sum()), 640), wilson(int(b.sum()), 640))))
    assert (difference.high - difference.low) / 2 < 0.8 * apart


def test_paired_intervals_cover_the_true_difference() -> None:
    generator = np.random.default_rng(1)
    inside, trials = 0, 400
    for _ in range(trials):
        hard = generator.random(400)
        a, b = (generator.random(400) > 0.6 * hard for _ in "ab")
        difference = paired_difference(mean_share(a), mean_share(b))
        assert difference is not None
        inside += (difference.low or 0.0) <= 0.0 <= (difference.high or 0.0)
    assert 0.92 <= inside / trials <= 0.98


def test_a_share_is_wilsons_for_independent_cases() -> None:
    """One case to a group: the jackknife's variance is p (1-p) / (n-1), the quantile Student's in place of 1.96."""
    share = mean_share(np.array([1, 0, 1, 1]))
    n, t, p = 3, 3.182446305284263, 0.75
    middle, half = (p + t**2 / (2 * n)), t * math.sqrt(p * (1 - p) / n + t**2 / (4 * n**2))
    assert share[:3] == pytest.approx((p, (middle - half) / (1 + t**2 / n), (middle + half) / (1 + t**2 / n)))
    assert share.replicates == pytest.approx((2 / 3, 1, 2 / 3, 2 / 3))


def test_cases_of_one_unit_are_left_out_together() -> None:
    hits = np.array([1, 1, 0, 0, 1, 0])
    share = mean_share(hits, ["a", "a", "b", "b", "c", "c"])
    assert share.replicates == pytest.approx((0.25, 0.75, 0.5))
    alone = mean_share(np.array([1.0, 0.0, 0.5]))
    assert share[:3] == pytest.approx(alone[:3]), "as if each unit were one case with the share of its cases"


def test_no_miss_is_no_certainty() -> None:
    share = mean_share(np.ones(40))
    assert share.low == pytest.approx(1 / (1 + 2.0395134463964077**2 / 40))  # Wilson, t_31 at 97.5 %
    assert mean_share(np.ones(4), ["a", "a", "b", "b"]).low == pytest.approx(1 / (1 + 12.706204736432095**2 / 2))


def test_the_least_error_is_kept() -> None:
    flat = estimate(0.3, [0.3, 0.3, 0.3], least=0.1)
    assert flat[:3] == pytest.approx((0.3, 0.3 - 0.1 * 4.302652729696142, 0.3 + 0.1 * 4.302652729696142))
    assert estimate(0.3, [0.3, 0.3, 0.3])[:3] == (0.3, 0.3, 0.3)


def test_a_weighted_average_by_hand() -> None:
    mean = average([Estimate(0.5, 0.4, 0.6, (1.0, 3.0)), Estimate(0.9, 0.6, 0.94, (5.0, 5.0))], weights=[0.75, 0.25])
    assert mean[:3] == pytest.approx((0.6, 0.6 - math.hypot(0.075, 0.075), 0.6 + math.hypot(0.075, 0.01)))
    assert mean.replicates == pytest.approx((2.0, 3.5))


def test_an_empty_group_changes_nothing() -> None:
    """Of a draw's texts none may be in some group of the texts of all draws."""
    rows = {"a": np.array([1.0, 3.0]), "b": np.ones(2)}
    left_out = jackknife(rows, _ratio, groups=Grouping(np.array([0, 2]), 3))["ratio"]
    assert left_out.replicates == pytest.approx((3.0, 2.0, 1.0))
    assert jackknife(rows, _ratio, groups=consecutive(2))["ratio"].replicates == pytest.approx((3.0, 1.0))
