"""The formulas of the audit: a table worked out by hand, scipy beside each distribution, and small simulations."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from sae_research.metrics.reliability import (
    MeanSquares,
    benjamini_hochberg,
    expected_tau,
    halves_tau,
    mean_squares,
    minimum_difference,
    no_signal_p,
    noise_by_row,
    pairwise_p,
    pseudo_values,
    rank_share,
    reliability,
    separable_levels,
)

BY_HAND = np.array([[1.0, 2, 3], [3, 4, 8], [5, 9, 10]])
"""Rows have the means 2, 5, 8, columns 3, 5, 7, all 5; residuals 1 0 -1 / 0 -1 1 / -1 1 0."""


def test_the_mean_squares_of_a_table_worked_out_by_hand() -> None:
    squares = mean_squares(BY_HAND)
    assert squares == MeanSquares(n=3, draws=3, between=27.0, draw=12.0, residual=1.5)
    assert squares.f_ratio == 18
    assert squares.sigma_s == pytest.approx(math.sqrt(8.5))  # (27 - 1.5) / 3
    assert squares.sigma_d == pytest.approx(math.sqrt(3.5 / 3))  # (12 - 1.5) / 3, of the mean of three draws
    assert squares.sigma_e == pytest.approx(math.sqrt(0.5))


def test_what_follows_from_it_by_hand() -> None:
    squares = mean_squares(BY_HAND)
    assert reliability(squares).value == pytest.approx(17 / 18)
    assert reliability(squares, draws=1).value == pytest.approx(0.85)  # 8.5 / (8.5 + 1.5)
    assert separable_levels(squares) == pytest.approx((4 * math.sqrt(17) + 1) / 3)
    assert minimum_difference(squares) == pytest.approx(2.776445)  # t(.975; 4) √2 √.5
    assert minimum_difference(squares, power=0.8) == pytest.approx(2.776445 + 0.940965)


def test_the_reliability_is_cronbachs_alpha() -> None:
    """Another formula of the same quantity, from the variances of single draws and of their sum."""
    table = np.random.default_rng(0).normal(size=(7, 5)) + np.arange(7)[:, None]
    alpha = 5 / 4 * (1 - table.var(axis=0, ddof=1).sum() / table.sum(axis=1).var(ddof=1))
    assert reliability(mean_squares(table)).value == pytest.approx(alpha)


def test_the_interval_and_the_p_value_are_those_of_the_f_distribution() -> None:
    squares = mean_squares(BY_HAND)
    low, high = 18 / stats.f.ppf(0.975, 2, 4), 18 * stats.f.ppf(0.975, 4, 2)
    found = reliability(squares)
    assert (found.low, found.high) == pytest.approx((1 - 1 / low, 1 - 1 / high))
    one = reliability(squares, draws=1)
    assert (one.low, one.high) == pytest.approx(((low - 1) / (low + 2), (high - 1) / (high + 2)))
    assert no_signal_p(squares) == pytest.approx(stats.f.sf(18, 2, 4))


def test_what_all_draws_do_to_all_saes_alike_changes_nothing_but_its_own_variance() -> None:
    table = np.random.default_rng(1).normal(size=(6, 8)) + np.arange(6)[:, None]
    shifted = table + 10 * np.random.default_rng(2).normal(size=8)
    a, b = mean_squares(table), mean_squares(shifted)
    assert (a.between, a.residual) == pytest.approx((b.between, b.residual))
    assert b.draw > 10 * a.draw


def test_a_constant_has_no_reliability_and_exact_differences_have_all() -> None:
    constant = mean_squares(np.full((4, 5), 0.1) + np.arange(5))
    assert (reliability(constant), no_signal_p(constant)) == ((0, 0, 0), 1)
    exact = mean_squares(np.arange(4)[:, None] + 0.1 * np.arange(5))
    assert (reliability(exact), no_signal_p(exact), separable_levels(exact)) == ((1, 1, 1), 0, None)
    assert minimum_difference(exact) == 0


def test_differences_below_the_digits_that_are_stored_count_as_none() -> None:
    replicates = np.array([[float(f"{value:.10g}") for value in row] for row in 5 + np.random.default_rng(3).normal(
        scale=1e-11, size=(4, 32)
    )])  # fmt: skip
    squares = mean_squares(pseudo_values(np.full(4, 5.0), replicates))
    assert (squares.between, squares.residual) == (0, 0)


def test_pseudo_values_of_a_mean_are_the_means_of_the_groups() -> None:
    groups = np.array([[1.0, 2, 6], [4, 4, 4]])
    without = (groups.sum(axis=1, keepdims=True) - groups) / 2
    assert pseudo_values(groups.mean(axis=1), without) == pytest.approx(groups)


def test_tau_of_two_draws_is_scipys_with_ties() -> None:
    table = np.array([[1.0, 1], [2, 3], [2, 2], [4, 2], [5, 6], [5, 5]])
    found = halves_tau(table, 3)
    assert found == pytest.approx(stats.kendalltau(table[:, 0], table[:, 1])[0])
    assert halves_tau(np.ones((4, 6)), 3) is None


def test_tau_of_halves_is_that_of_all_halves_on_average() -> None:
    table = np.random.default_rng(4).normal(size=(9, 6)) + np.arange(9)[:, None] / 3
    every: list[Any] = []
    for first in map(list, itertools.combinations(range(6), 3)):
        second = np.delete(table, first, axis=1)
        every.append(stats.kendalltau(table[:, first].mean(axis=1), second.mean(axis=1))[0])
    assert halves_tau(table, 3000) == pytest.approx(np.mean(every), abs=0.01)


def test_the_normal_models_tau() -> None:
    assert [round(expected_tau(r), 2) for r in (0, 0.5, 0.8, 0.9, 0.95, 1)] == [0, 0.33, 0.59, 0.71, 0.80, 1]


def test_pairs_are_tested_as_by_scipys_paired_test() -> None:
    table = np.random.default_rng(5).normal(size=(3, 9)) + np.arange(3)[:, None]
    expected = [stats.ttest_rel(table[a], table[b]).pvalue for a, b in ((0, 1), (0, 2), (1, 2))]
    assert pairwise_p(table.mean(axis=1), table) == pytest.approx(expected)


def test_equal_rows_are_no_difference_and_exact_ones_a_certain_one() -> None:
    table = np.array([[1.0, 2, 3], [1, 2, 3], [2, 3, 4]])
    assert pairwise_p(table.mean(axis=1), table).tolist() == [1, 0, 0]


def test_the_false_discovery_rate_is_scipys() -> None:
    p = np.random.default_rng(6).uniform(size=40) ** 3
    assert benjamini_hochberg(p) == pytest.approx(stats.false_discovery_control(p))
    assert benjamini_hochberg([]).size == 0


def test_the_noise_of_each_sae_is_found_where_it_differs() -> None:
    rng = np.random.default_rng(7)
    scales = np.array([1.0, 1, 1, 4, 8])
    table = rng.normal(size=(5, 20_000)) * scales[:, None] + rng.normal(size=20_000)
    assert noise_by_row(table) * math.sqrt(20_000) == pytest.approx(scales, rel=0.05)


def test_the_mean_of_the_saes_noise_is_the_residual() -> None:
    table = np.random.default_rng(8).normal(size=(5, 12))
    assert np.mean(noise_by_row(table) ** 2) == pytest.approx(mean_squares(table).residual / 12)


def test_the_share_of_ranks_is_that_of_a_quadratic_fit() -> None:
    rng = np.random.default_rng(9)
    x, values = rng.normal(size=12), rng.integers(0, 6, size=12).astype(float)
    ranks = stats.rankdata(values)
    fitted = np.polyval(np.polyfit(x, ranks, 2), x)
    expected = 1 - np.sum((ranks - fitted) ** 2) / np.sum((ranks - ranks.mean()) ** 2)
    assert rank_share(values, x) == pytest.approx(expected)


def test_values_that_follow_the_covariate_are_all_its_own_and_equal_ones_have_no_share() -> None:
    x = np.log([8.0, 16, 24, 32, 64])
    assert rank_share(np.array([1.0, 2, 3, 4, 5]), np.arange(5.0)) == pytest.approx(1)
    assert rank_share(np.ones(5), x) is None
    assert rank_share(np.arange(5.0), np.ones(5)) == pytest.approx(0)


def _tables(count: int, *, n: int, draws: int, sigma_s: float) -> list[np.ndarray]:
    """Tables with noise 1 and effects of draws that are 10 times as large."""
    rng = np.random.default_rng(10)
    return [
        sigma_s * rng.normal(size=(n, 1)) + 10 * rng.normal(size=draws) + rng.normal(size=(n, draws))
        for _ in range(count)
    ]


def test_intervals_hold_the_reliability_whatever_the_draws_have_in_common() -> None:
    true = 0.75 / (0.75 + 1 / 6)  # σ_s² / (σ_s² + σ_e² / draws)
    found = [reliability(mean_squares(t)) for t in _tables(1500, n=10, draws=6, sigma_s=math.sqrt(0.75))]
    assert np.mean([rho.low <= true <= rho.high for rho in found]) == pytest.approx(0.95, abs=0.015)


def test_without_a_signal_the_f_test_is_significant_in_5_percent() -> None:
    p = [no_signal_p(mean_squares(t)) for t in _tables(1500, n=10, draws=6, sigma_s=0)]
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=0.015)


def test_a_difference_of_the_minimum_at_80_percent_power_is_found_in_80_percent() -> None:
    found = []
    for table in _tables(1500, n=10, draws=6, sigma_s=0):
        degrees = 9 * 5
        true = (stats.t.ppf(0.975, degrees) + stats.t.ppf(0.8, degrees)) * math.sqrt(2 / 6)
        difference = table[0].mean() - table[1].mean() + true
        found.append(abs(difference) >= minimum_difference(mean_squares(table)))
    assert np.mean(found) == pytest.approx(0.80, abs=0.03)


def test_the_order_of_halves_is_as_stable_as_the_normal_model_says() -> None:
    tables = _tables(300, n=12, draws=8, sigma_s=1)
    expected = expected_tau(1 / (1 + 1 / 4))
    assert np.mean([halves_tau(table, 20) or 0.0 for table in tables]) == pytest.approx(expected, abs=0.03)
