"""Simulates the audit where the truth is known: `python -m benchmarks.audit` prints three tables.

Scores of SAEs on draws are y = s + d + e; what a draw does to all SAEs alike (d) is ten times as large as the noise.
Every line comes from `--tables` simulated tables and a seed of its own.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from sae_research.metrics import reliability as stats
from sae_research.metrics.accuracies import ProbeTest, mean_accuracy
from sae_research.metrics.intervals import Estimate, jackknife, mean_half_widths
from sae_research.results.audit import POWER
from sae_research.results.markdown import table
from sae_research.results.verdicts import FALSE_DISCOVERIES, L0_FROM, L0_LEAST_SAES, Evidence, verdicts

COMMON = 10.0
SPLITS = 5
"""Random halves of a table; fewer than the audit's, since their mean is averaged over tables too."""
UNITS = 320
"""Test units of a simulated run, dealt to 32 groups."""


class Setting(NamedTuple):
    """How tables are made; the true scores have the variance 1."""

    n: int
    """SAEs."""
    draws: int
    rho: float
    """The true reliability of a mean over the draws."""
    spread: str = "normal"
    """Of the true scores: `normal`, `uniform`, or `outlier`: normal, but the last is five deviations away, and ρ is
    that of the others."""
    noisy: float = 1.0
    """The noise of the first SAE over that of the others."""

    @property
    def error(self) -> float:
        """The variance of a score's noise, the mean over SAEs."""
        return (1 - self.rho) / self.rho

    def tables(self, count: int, arrange: Callable[[np.ndarray], None] = lambda true: None) -> Iterator[np.ndarray]:
        """`count` tables, SAEs by draws; `arrange` may change their true scores."""
        rng = np.random.default_rng([self.n, self.draws, round(1000 * self.rho), len(self.spread), round(self.noisy)])
        scale = np.ones((self.n, 1))
        scale[0] = self.noisy
        scale *= math.sqrt(self.error * self.draws / np.mean(scale**2))
        for _ in range(count):
            true = rng.uniform(-1, 1, self.n) * math.sqrt(3) if self.spread == "uniform" else rng.normal(size=self.n)
            if self.spread == "outlier":
                true[-1] = 5.0
            arrange(true)
            common = COMMON * rng.normal(size=self.draws)
            yield true[:, None] + common + scale * rng.normal(size=(self.n, self.draws))


def reliability_table(count: int) -> str:
    """Estimates, intervals and the order of halves: for normal SAEs and noise, then for others."""
    settings = [Setting(n, draws, rho) for n in (8, 15, 20) for draws in (4, 32) for rho in (0.5, 0.8, 0.95)]
    settings += [Setting(15, 32, rho, spread="uniform") for rho in (0.5, 0.8, 0.95)]
    settings += [Setting(15, 32, rho, noisy=noisy) for noisy in (3, 10) for rho in (0.5, 0.8, 0.95)]
    settings += [Setting(15, 32, 0.8, spread="outlier")]
    header = ["SAEs", "draws", "true scores", "noisiest SAE", "ρ", "mean estimate", "intervals hold", "τ of halves"]
    return table([*header, "its formula"], [_line(setting, count) for setting in settings], numbers_from=2)


def _line(s: Setting, count: int) -> list[str]:
    estimates = [stats.reliability(stats.mean_squares(scores)) for scores in s.tables(count)]
    taus = [stats.halves_tau(scores, SPLITS) or 0.0 for scores in s.tables(count)]
    expected = stats.expected_tau(1 / (1 + 2 * s.error))
    covered = np.mean([rho.low <= s.rho <= rho.high for rho in estimates])
    mean = np.mean([rho.value for rho in estimates])
    about = [str(s.n), str(s.draws), s.spread, f"× {s.noisy:g}", str(s.rho)]
    return [
        *about,
        f"{mean:.3f}",
        "–" if s.spread == "outlier" else _percent(covered),
        f"{np.mean(taus):.3f}",
        f"{expected:.3f}",
    ]


def events_table(count: int) -> str:
    """How often tests and verdicts do what they should."""
    setting = Setting(15, 32, 0.8)
    gap = _true_minimum(setting)

    def equal(true: np.ndarray) -> None:
        true[:] = 0.0

    def first_ahead(by: float) -> Callable[[np.ndarray], None]:
        def arrange(true: np.ndarray) -> None:
            true[0] = true[1] + by

        return arrange

    def last_is_lowest(true: np.ndarray) -> None:
        true[-1] = true[:-1].min()

    events: list[tuple[str, str, Iterator[bool]]] = [
        (
            "a true difference of the minimum at 80 % power is detected",
            "80 %",
            map(_differs, setting.tables(count, first_ahead(gap))),
        ),
        ("two equal SAEs are called different", "5 %", map(_differs, setting.tables(count, first_ahead(0.0)))),
        ("no SAE differs: the F test says they do", "5 %", (_p(t) <= 0.05 for t in setting.tables(count, equal))),
        ("no SAE differs: *do not use*", "≥ 95 %", map(_is_refused, setting.tables(count, equal))),
        ("no SAE differs: a pair is told apart", "≤ 5 %", map(_any_pair, setting.tables(count, equal))),
        (
            "a control as good as the worst SAE is below all",
            "≤ 2.5 %",
            map(_is_lowest, setting.tables(count, last_is_lowest)),
        ),
        (f"ranks without a link to L0, {L0_LEAST_SAES} SAEs: *reads L0*", "5 %", _reads_l0(L0_LEAST_SAES, count)),
        ("the same, 15 SAEs", "below 1 %", _reads_l0(15, count)),
    ]
    lines = [[what, wanted, _percent(np.mean(list(happens)))] for what, wanted, happens in events]
    return table(["event", "wanted", "found"], lines)


def _true_minimum(setting: Setting) -> float:
    """The minimum difference at 80 % power for the true noise."""
    squares = stats.mean_squares(next(setting.tables(1)))
    return stats.minimum_difference(squares._replace(residual=setting.error * setting.draws), power=POWER)


def _differs(scores: np.ndarray) -> bool:
    return abs(scores[0].mean() - scores[1].mean()) >= stats.minimum_difference(stats.mean_squares(scores))


def _p(scores: np.ndarray) -> float:
    return stats.no_signal_p(stats.mean_squares(scores))


def _is_refused(scores: np.ndarray) -> bool:
    rho = stats.reliability(stats.mean_squares(scores))
    return "do not use to tell these SAEs apart" in verdicts(Evidence(rho.value, rho.low, _p(scores)))


def _any_pair(scores: np.ndarray) -> bool:
    p = stats.benjamini_hochberg(stats.pairwise_p(scores.mean(axis=1), scores))
    return bool((p <= FALSE_DISCOVERIES).any())


def _is_lowest(scores: np.ndarray) -> bool:
    ahead = scores[:-1] - scores[-1]
    return bool((ahead.mean(axis=1) > mean_half_widths(ahead)).all())


def _reads_l0(n: int, count: int) -> Iterator[bool]:
    rng, log_l0 = np.random.default_rng(n), np.log(np.geomspace(6, 60, n))
    return ((stats.rank_share(rng.normal(size=n), log_l0) or 0.0) > L0_FROM for _ in range(count))


class Run(NamedTuple):
    """A simulated run of one metric."""

    scores: list[Estimate]
    """Of each SAE."""
    true: np.ndarray
    """What they would be without end of text."""
    noise: float
    """The variance that a score has after pairing, over runs."""


def ratio_run(rng: np.random.Generator, n: int) -> Run:
    """Explained variances: a ratio of sums over sequences that are hard for every SAE."""
    true, size = 0.9 + 0.01 * rng.normal(size=n), rng.gamma(8.0, size=UNITS)
    hard = rng.normal(scale=0.05, size=UNITS)
    own = 0.05
    error = size * (1 - true[:, None] + hard + rng.normal(scale=own, size=(n, UNITS)))
    rows = ({"error": e, "size": size} for e in error)
    scores = [jackknife(r, lambda s: {"ev": 1 - s["error"] / s["size"]})["ev"] for r in rows]
    return Run(scores, true, own**2 * float(np.sum(size**2) / np.sum(size) ** 2))


def accuracy_run(rng: np.random.Generator, n: int) -> Run:
    """Accuracies on texts that are hard for every SAE."""
    true, hard = np.clip(0.85 + 0.06 * rng.normal(size=n), 0.6, 0.99), rng.uniform(-0.2, 0.2, size=UNITS)
    chance = np.clip(true[:, None] + hard, 0, 1)
    hits = rng.random((n, UNITS)) < chance
    scores = [mean_accuracy([ProbeTest(h, np.arange(UNITS))]) for h in hits]
    return Run(scores, chance.mean(axis=1), float(np.mean(chance * (1 - chance))) / UNITS)


def replicates_table(count: int, n: int = 15) -> str:
    """The audit of stored replicates beside what independent runs would say."""
    rows = []
    for name, make in (("explained variance", ratio_run), ("accuracy", accuracy_run)):
        rng = np.random.default_rng(n)
        runs = [make(rng, n) for _ in range(count)]
        signal = np.mean([run.true.var(ddof=1) for run in runs])
        noise = np.mean([run.noise for run in runs])
        squares = [stats.mean_squares(_pseudo_values(run)) for run in runs]
        estimates = [stats.reliability(s) for s in squares]
        rho = signal / (signal + noise)
        covered = np.mean([r.low <= rho <= r.high for r in estimates])
        sigma = math.sqrt(np.mean([s.sigma_e**2 for s in squares]))
        mean = np.mean([r.value for r in estimates])
        rows.append([name, f"{rho:.3f}", f"{mean:.3f}", _percent(covered), f"{math.sqrt(noise):.5f}", f"{sigma:.5f}"])
    return table(["metric", "true ρ", "mean estimate", "intervals hold", "true σ_e", "found σ_e"], rows)


def _pseudo_values(run: Run) -> np.ndarray:
    values = np.array([score.value for score in run.scores])
    return stats.pseudo_values(values, np.array([score.replicates for score in run.scores]))


def _percent(share: float | np.floating) -> str:
    return f"{100 * float(share):.1f} %"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=4000, help="simulated tables a line; default: 4000")
    count = parser.parse_args().tables
    sys.stdout.write(f"### Reliability and order\n\n{reliability_table(count)}\n\n")
    sys.stdout.write(f"### Tests and verdicts\n\n{events_table(count)}\n\n")
    sys.stdout.write(f"### From the replicates of a run\n\n{replicates_table(count // 5)}\n")


if __name__ == "__main__":
    main()
