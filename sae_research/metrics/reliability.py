"""How reliably a metric orders SAEs: analysis of variance of a table of scores, a row per SAE, a column per draw.

y_ir = μ + s_i + d_r + e_ir: what SAE i has, what draw r does to all SAEs alike, and noise. A score is the mean of its
row, so its noise has the variance MS_e / draws after pairing. Shavelson & Webb, "Generalizability Theory" (1991);
McGraw & Wong, "Forming inferences about some intraclass correlation coefficients" (1996), ICC(C, k).
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from scipy.special import fdtrc, fdtri, stdtr, stdtrit

_TAIL = 0.975  # Of two-sided 95 % intervals and tests.
_RESOLUTION = 1e-8  # Of the largest score: what is smaller is the rounding of stored replicates, times their number.


def pseudo_values(values: np.ndarray, replicates: np.ndarray) -> np.ndarray:
    """G θ − (G−1) θ₍₋g₎ for each row: what each of the G groups of test units says, as if it were a draw of its own.

    `values` has a number θ per SAE, `replicates` that number without each group. The rows' variances over G are the
    squared standard errors of the jackknife. Tukey (1958).
    """
    groups = replicates.shape[-1]
    return groups * values[:, None] - (groups - 1) * replicates


class MeanSquares(NamedTuple):
    """The two-way analysis of variance of a table with one score in each cell."""

    n: int
    """Rows: SAEs."""
    draws: int
    """Columns."""
    between: float
    """MS_s: draws · Σ(ȳ_i − ȳ)² / (n−1)."""
    draw: float
    """MS_d: n · Σ(ȳ_r − ȳ)² / (draws−1)."""
    residual: float
    """MS_e: Σ(y_ir − ȳ_i − ȳ_r + ȳ)² / ((n−1)(draws−1))."""

    @property
    def degrees(self) -> int:
        """Of freedom of the residual."""
        return (self.n - 1) * (self.draws - 1)

    @property
    def f_ratio(self) -> float:
        """MS_s / MS_e: infinite where all draws agree on the differences, 0 where there are none."""
        if self.between == 0:
            return 0.0
        return self.between / self.residual if self.residual > 0 else math.inf

    @property
    def sigma_s(self) -> float:
        """The standard deviation between SAEs, noise taken off."""
        return math.sqrt(max(0.0, (self.between - self.residual) / self.draws))

    @property
    def sigma_d(self) -> float:
        """The standard deviation of a whole run, common to all SAEs: it harms comparisons with other runs alone."""
        return math.sqrt(max(0.0, (self.draw - self.residual) / self.n) / self.draws)

    @property
    def sigma_e(self) -> float:
        """The standard deviation of one SAE's score that is left after pairing."""
        return math.sqrt(self.residual / self.draws)


def mean_squares(table: np.ndarray) -> MeanSquares:
    """The analysis of variance of `table`: SAEs by draws, both at least two. What rounding makes counts as 0."""
    n, draws = table.shape
    rows, columns, middle = table.mean(axis=1), table.mean(axis=0), table.mean()
    squares = (
        draws * np.sum((rows - middle) ** 2) / (n - 1),
        n * np.sum((columns - middle) ** 2) / (draws - 1),
        np.sum(_residuals(table) ** 2) / ((n - 1) * (draws - 1)),
    )
    least = (_RESOLUTION * np.abs(table).max()) ** 2
    return MeanSquares(n, draws, *(float(square) if square > least else 0.0 for square in squares))


def _residuals(table: np.ndarray) -> np.ndarray:
    return table - table.mean(axis=1, keepdims=True) - table.mean(axis=0) + table.mean()


class Reliability(NamedTuple):
    """The share of the variance between the SAEs' scores that is not noise, with its 95 % interval."""

    value: float
    low: float
    high: float


def reliability(squares: MeanSquares, draws: int | None = None) -> Reliability:
    """ρ = σ_s² / (σ_s² + σ_e²) of a mean over `draws` (default: all of them, the score itself).

    With all draws it is 1 − MS_e / MS_s. The interval is exact for normal SAEs and normal noise: F divided by
    F(.975; n−1, ν), and times F(.975; ν, n−1), ν = (n−1)(draws−1).
    """
    ratio, degrees = squares.f_ratio, squares.degrees
    times = squares.draws / (draws or squares.draws)

    def of(f: float) -> float:
        if f <= 1:
            return 0.0
        return 1.0 if math.isinf(f) else (f - 1) / (f - 1 + times)

    lower, upper = fdtri(squares.n - 1, degrees, _TAIL), fdtri(degrees, squares.n - 1, _TAIL)
    return Reliability(of(ratio), of(ratio / lower), of(ratio * upper))


def no_signal_p(squares: MeanSquares) -> float:
    """The p value of the F test that the SAEs do not differ at all."""
    return float(fdtrc(squares.n - 1, squares.degrees, squares.f_ratio))


def minimum_difference(squares: MeanSquares, *, power: float | None = None) -> float:
    """The smallest difference of two scores that a paired test at 5 % calls one: t(.975; ν) √2 σ_e.

    With a `power`, the true difference that is detected that often: t(power; ν) is added to the quantile. For a pair
    fixed beforehand; the best of many needs more.
    """
    quantile = stdtrit(squares.degrees, _TAIL) + (stdtrit(squares.degrees, power) if power else 0.0)
    return float(quantile * math.sqrt(2) * squares.sigma_e)


def separable_levels(squares: MeanSquares) -> float | None:
    """H = (4 σ_s/σ_e + 1) / 3, the number of levels three standard errors apart; None without any noise.

    Wright & Masters, "Rating Scale Analysis" (1982).
    """
    return (4 * squares.sigma_s / squares.sigma_e + 1) / 3 if squares.sigma_e > 0 else None


def expected_tau(correlation: float) -> float:
    """Kendall's τ = (2/π) asin r of two normal variables with that correlation: two runs' scores of the same SAEs."""
    return 2 / math.pi * math.asin(correlation)


def halves_tau(table: np.ndarray, n_splits: int) -> float | None:
    """Kendall's τ_b of the SAEs' order by one random half of the draws with that by the other, averaged over splits.

    The splits depend on the number of draws alone. None where a half ties all SAEs every time.
    """
    n, draws = table.shape
    first = _random_halves(draws, n_splits)
    a, b = np.triu_indices(n, k=1)
    signs = []
    for weights in (first, ~first):
        means = weights @ table.T / weights.sum(axis=1, keepdims=True)
        signs.append(np.sign(means[:, a] - means[:, b]))
    untied = [np.abs(sign).sum(axis=1) for sign in signs]
    norm = np.sqrt(untied[0] * untied[1])
    taus = (signs[0] * signs[1]).sum(axis=1)[norm > 0] / norm[norm > 0]
    return float(taus.mean()) if len(taus) else None


@cache
def _random_halves(draws: int, n_splits: int) -> np.ndarray:
    """(split, draw): whether the draw is in the first half; each split has a key of its own.

    `Random.random()` is the one method whose sequence Python promises to keep for a given seed.
    """
    is_first = np.zeros((n_splits, draws), dtype=bool)
    for split in range(n_splits):
        unit = random.Random(f"halves/{draws}/{split}").random
        is_first[split, sorted(range(draws), key=lambda _: unit())[: draws // 2]] = True
    return is_first


def pairwise_p(values: np.ndarray, table: np.ndarray) -> np.ndarray:
    """The p values of paired t tests over the draws for all pairs of rows, in the order of `np.triu_indices`.

    Every pair has its own noise, so one noisy SAE spoils its own pairs only.
    """
    a, b = np.triu_indices(len(values), k=1)
    draws = table.shape[1]
    errors = (table[a] - table[b]).std(axis=1, ddof=1) / math.sqrt(draws)
    differences = np.abs(values[a] - values[b])
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(differences == 0, 0.0, differences / errors)
    return 2 * stdtr(draws - 1, -t)


def benjamini_hochberg(p: Sequence[float] | np.ndarray) -> np.ndarray:
    """p values adjusted so that calling those below q different has a false discovery rate of q at most.

    min over j ≥ i of p₍ⱼ₎ m / j, for the i-th smallest of m. Benjamini & Hochberg (1995).
    """
    p = np.asarray(p, dtype=np.float64)
    order = np.argsort(p)[::-1]
    ranks = np.arange(len(p), 0, -1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.minimum.accumulate(p[order] * len(p) / ranks))
    return adjusted


def noise_by_row(table: np.ndarray) -> np.ndarray:
    """The standard deviation of each SAE's score after pairing, for at least three SAEs; 0 where the estimate is below.

    n/(n−2) · (S_i/(draws−1) − Σ_j S_j / ((draws−1) n (n−1))), S_i the squared residuals of row i, is free of bias for
    noise that differs by row. Grubbs, JASA 43 (1948).
    """
    n, draws = table.shape
    squares = np.sum(_residuals(table) ** 2, axis=1) / (draws - 1)
    variances = n / (n - 2) * (squares - squares.sum() / (n * (n - 1)))
    return np.sqrt(np.maximum(0.0, variances) / draws)


def rank_share(values: np.ndarray, covariate: np.ndarray) -> float | None:
    """The share R² of the variance of the values' ranks that a quadratic in `covariate` explains; None if all tie."""
    _, place, ties = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(ties) - (ties - 1) / 2)[place]
    centred = ranks - ranks.mean()
    if not centred.any():
        return None
    scaled = (covariate - covariate.mean()) / (covariate.std() or 1.0)
    design = np.column_stack([np.ones_like(scaled), scaled, scaled**2])
    fitted = design @ np.linalg.lstsq(design, centred, rcond=None)[0]
    return float(1 - np.sum((centred - fitted) ** 2) / np.sum(centred**2))
