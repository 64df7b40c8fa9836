"""How often 95 % intervals hold the truth where it is known: `python -m benchmarks.coverage` prints a table.

A line simulates two SAEs many times and has the eval's own functions report them: the share of intervals that hold the
true score, and of intervals of paired differences, as `comparisons.csv` has them, that hold the true difference.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from benchmarks.simulated_draws import Draws, probing_run, scr_run, tpp_run
from benchmarks.simulated_scores import (
    Place,
    SimulatedRun,
    absorption_run,
    core_rows_run,
    densities_run,
    ravel_run,
    unlearning_run,
)
from sae_research.evals.registry import all_evals
from sae_research.measurements import EvalOutput, Measurement, Result
from sae_research.results.comparisons import compare_saes
from sae_research.results.markdown import table
from sae_research.results.merge import Entry

SIMULATIONS: Mapping[str, Callable[..., SimulatedRun]] = {
    "core": core_rows_run, "core, latents": densities_run, "ravel": ravel_run, "unlearning": unlearning_run,
    "sparse_probing": probing_run, "scr": scr_run, "tpp": tpp_run, "absorption": absorption_run,
}  # fmt: skip


class Line(NamedTuple):
    """What is simulated."""

    simulation: str
    metric: str
    about: str
    arguments: Mapping[str, Any]
    at: Place = MappingProxyType({})

    @property
    def eval_name(self) -> str:
        """The eval that reports the metric."""
        return self.simulation.partition(",")[0]


class Coverage(NamedTuple):
    """Shares of intervals that hold the truth."""

    scores: float
    differences: float
    half_width: float
    """The median, of the first SAE's scores."""


def _core_lines() -> Iterator[Line]:
    for n_rows, mean_rows, iccs in (
        (800, 0.45, (0.1, 0.5)), (160, 9.0, (0.0, 0.1, 0.3, 0.5)), (800, 9.0, (0.0, 0.1, 0.3, 0.5)), (3200, 9.0, (0.3,))
    ):  # fmt: skip
        for icc in iccs:
            metric = "ce_loss_increase" if n_rows == 160 else "explained_variance"
            about = f"{n_rows} rows, {mean_rows:g} to a document, ICC {icc:g}"
            yield Line("core", metric, about, {"n_rows": n_rows, "mean_rows": mean_rows, "icc": icc})
    for metric in ("frac_alive", "freq_over_1_percent", "normalized_freq_over_1_percent"):
        for topics in (1, 8):
            about = f"800 rows, 9 to a document, {topics} topic{'s' * (topics > 1)}"
            yield Line("core, latents", metric, about, {"n_rows": 800, "mean_rows": 9.0, "topics": topics})


def _entity_lines() -> Iterator[Line]:
    for entities, pairs in ((32, 144), (100, 400)):
        for icc in (0.0, 0.2):
            about = f"{entities} entities, {pairs} pairs an attribute, ICC {icc:g}"
            arguments = {"entities": entities, "pairs": pairs, "icc": icc}
            yield Line("ravel", "disentanglement_score", about, arguments)
    for entities, questions in ((24, 3), (100, 3), (500, 1)):
        for icc in (0.0, 0.3) if questions > 1 else (0.0,):
            about = f"{entities} entities, {questions} question{'s' * (questions > 1)} each, ICC {icc:g}"
            arguments = {"entities": entities, "questions": questions, "icc": icc}
            yield Line("unlearning", "unlearning_score", about, arguments)


def _drawn_lines() -> Iterator[Line]:
    scores = {"sparse_probing": ("sae_top_k_test_accuracy", {"k": 1}), "scr": ("scr_metric", {"n": 2}),
              "tpp": ("tpp_total_metric", {"n": 2})}  # fmt: skip
    for name, (metric, at) in scores.items():
        yield Line(name, metric, "one draw: texts alone", {"draws": Draws(1, 200, 0.02)}, at)
        for pool, spread in ((200, 0.02), (400, 0.0), (400, 0.02), (4000, 0.02)):
            about = f"5 draws from {pool} texts, deviation over draws {spread:g}"
            yield Line(name, metric, about, {"draws": Draws(5, pool, spread)}, at)
    for metric in ("mean_absorption_fraction_score", "mean_full_absorption_score"):
        for most in (15, 60):
            yield Line("absorption", metric, f"20 letters of 5 to {most} words", {"most_words": most})


def lines() -> list[Line]:
    """Every line of the table."""
    return [*_core_lines(), *_entity_lines(), *_drawn_lines()]


def coverage(line: Line, runs: int, *, seed: int = 0) -> Coverage:
    """The shares over `runs` simulated runs."""
    simulate, rng = SIMULATIONS[line.simulation], np.random.default_rng(seed)
    simulated = [simulate(rng, line.metric, **line.arguments) for _ in range(runs)]
    ends = np.array([[_score(measurements, line) for measurements in run.measurements] for run in simulated])
    differences = np.array([_difference(run, line) for run in simulated])
    means = ends[..., 0].mean(axis=0)
    true = np.array([[means[i] if t is None else t for i, t in enumerate(run.true)] for run in simulated])
    return Coverage(
        _share_that_hold(ends[..., 1], true, ends[..., 2]),
        _share_that_hold(differences[:, 0], true[:, 0] - true[:, 1], differences[:, 1]),
        float(np.median(ends[:, 0, 2] - ends[:, 0, 1])) / 2,
    )


def _score(measurements: Sequence[Measurement], line: Line) -> tuple[float, float, float]:
    """The number and the ends of its interval, which all numbers here have."""
    score = next(m for m in measurements if m.metric == line.metric and dict(m.at) == dict(line.at))
    assert score.value is not None and score.ci_low is not None and score.ci_high is not None
    return score.value, score.ci_low, score.ci_high


def _share_that_hold(low: np.ndarray, truth: np.ndarray, high: np.ndarray) -> float:
    # Both ends of a share that cannot be otherwise are that share, to float tolerance.
    return float(np.mean((low - 1e-12 <= truth) & (truth <= high + 1e-12)))


def _difference(run: SimulatedRun, line: Line) -> tuple[float, float]:
    """The interval that the comparison of both SAEs has."""
    specs = next(evaluated.specs for evaluated in all_evals() if evaluated.name == line.eval_name)
    # So that numbers without a direction are compared too.
    specs = tuple(replace(spec, direction="higher") for spec in specs)
    entries = []
    for name, measurements in zip("ab", run.measurements, strict=True):
        places = [m for m in measurements if m.metric == line.metric and set(m.at) <= {*line.at, "seed"}]
        result = Result(name, line.eval_name, {}, {}, {}, EvalOutput(tuple(places)))
        entries.append(Entry("computed", name, line.eval_name, result, specs))
    (comparison,) = compare_saes(entries)
    assert comparison.ci_low is not None and comparison.ci_high is not None
    return comparison.ci_low, comparison.ci_high


def coverage_table(chosen: Sequence[Line], runs: int) -> str:
    """The shares of every line, in percent."""
    rows = []
    for line in chosen:
        found = coverage(line, runs)
        shares = [f"{100 * share:.1f} %" for share in (found.scores, found.differences)]
        rows.append([line.eval_name, f"`{line.metric}`", line.about, *shares, f"{found.half_width:.2g}"])
    header = ["eval", "metric", "simulated", "intervals hold", "of differences", "half width"]
    return table(header, rows, numbers_from=3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=400, help="simulated runs a line; default: 400")
    parser.add_argument("--only", default="", help="lines whose eval or metric contains this")
    arguments = parser.parse_args()
    chosen = [line for line in lines() if arguments.only in f"{line.simulation} {line.metric}"]
    sys.stdout.write(coverage_table(chosen, arguments.runs) + "\n")


if __name__ == "__main__":
    main()
