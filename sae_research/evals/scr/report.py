"""From what the biased probes get right to the scores of spurious-correlation removal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from sae_research.data.paired import PairedSet
from sae_research.evals.shared.ablation_settings import too_few
from sae_research.measurements import EvalOutput, Measurement, measured
from sae_research.metrics.intervals import Estimate, Sums, average, jackknife
from sae_research.probes.draws import Rules

# The smallest gap between clean and biased accuracy that a score is divided by: SAEBench's.
_LEAST_GAP = 1e-3
DIRECTIONS = (1, 2)


class PairProbes(NamedTuple):
    """Which test texts the model's probes of one pair get right, by direction: 1 or 0 per text."""

    clean: Mapping[int, np.ndarray]
    """Of the probe trained without bias on the labels that the direction asks for."""
    biased: Mapping[int, np.ndarray]

    def gap(self, direction: int) -> float:
        """How much accuracy the bias costs."""
        return float(self.clean[direction].mean() - self.biased[direction].mean())

    @property
    def worse(self) -> int | None:
        """The direction in which the biased probe is less accurate; None where both are equal."""
        one, two = (float(self.biased[direction].mean()) for direction in DIRECTIONS)
        return None if one == two else 1 if one < two else 2


AblatedHits = Mapping[int, np.ndarray]
"""Which test texts the biased probe gets right after ablation, by direction: (n, texts), NaN where n is too large."""
ScoreOrReason = Estimate | str
"""A score, or the reason why there is none."""


class PairScores(NamedTuple):
    """The scores of one SAE on one pair, by metric and n."""

    paired: PairedSet
    by_metric: Mapping[str, Mapping[int, ScoreOrReason]]

    @property
    def run_name(self) -> str:
        """SAEBench's name of the pair."""
        return f"{self.paired.name}_scr_{self.paired.pair[0]}_{self.paired.pair[1]}"


def score_pair(
    paired: PairedSet, probes: PairProbes, hits: AblatedHits, n_values: Sequence[int], rules: Rules
) -> PairScores:
    """The scores of both directions, and `scr_metric`: that of the direction in which the biased probe is worse."""
    by_direction = {f"scr_dir{d}": _score_direction(d, probes, hits[d], n_values, rules) for d in DIRECTIONS}
    worse = probes.worse
    if worse is None:
        reason = "the biased probe is equally accurate in both directions"
        return PairScores(paired, {"scr_metric": dict.fromkeys(n_values, reason), **by_direction})
    return PairScores(paired, {"scr_metric": by_direction[f"scr_dir{worse}"], **by_direction})


def _score_direction(
    direction: int, probes: PairProbes, hits: np.ndarray, n_values: Sequence[int], rules: Rules
) -> dict[int, ScoreOrReason]:
    if probes.gap(direction) < _LEAST_GAP:
        reason = f"the bias costs less than {_LEAST_GAP:g} of accuracy in direction {direction}"
        return dict.fromkeys(n_values, Estimate(0.0) if rules == "sae_bench" else reason)
    rows = {"clean": probes.clean[direction], "biased": probes.biased[direction]}
    possible = {n: of_n for n, of_n in zip(n_values, hits, strict=True) if not np.isnan(of_n).any()}
    estimates = jackknife({**rows, **{str(n): of_n for n, of_n in possible.items()}}, _recovered)
    return {n: estimates[str(n)] if n in possible else too_few(n) for n in n_values}


def _recovered(sums: Sums) -> Sums:
    """The share of the gap that each ablation closes. All probes see the same texts, so counts suffice."""
    gap = sums["clean"] - sums["biased"]
    after = {name: total for name, total in sums.items() if name not in {"clean", "biased"}}
    return {name: (total - sums["biased"]) / gap for name, total in after.items()}


def scr_output(scores: Sequence[PairScores], probes: Sequence[PairProbes], n_values: Sequence[int]) -> EvalOutput:
    """Means over all pairs that have a score, and each pair's own."""
    measurements: list[Measurement] = []
    for metric in ("scr_metric", "scr_dir1", "scr_dir2"):
        for n in n_values:
            measurements.append(_mean(metric, n, [pair.by_metric[metric][n] for pair in scores]))
            for pair in scores:
                at = {"n": n, "dataset": pair.paired.name, "pair": " / ".join(pair.paired.pair)}
                measurements.append(_measurement(metric, pair.by_metric[metric][n], at))
    return EvalOutput(
        tuple(measurements),
        details=[_detail(pair) for pair in scores],
        unstructured={
            pair.run_name: {
                f"{kind}_accuracy_dir{d}": float(hits[d].mean())
                for kind, hits in pair_probes._asdict().items()
                for d in DIRECTIONS
            }
            for pair, pair_probes in zip(scores, probes, strict=True)
        },
    )


def _mean(metric: str, n: int, scores: Sequence[ScoreOrReason]) -> Measurement:
    estimates = [score for score in scores if isinstance(score, Estimate)]
    reasons = [score for score in scores if isinstance(score, str)]
    return _measurement(metric, average(estimates) if estimates else "; ".join(dict.fromkeys(reasons)), {"n": n})


def _measurement(metric: str, score: ScoreOrReason, at: Mapping[str, int | float | str]) -> Measurement:
    return Measurement(metric, None, reason=score, at=at) if isinstance(score, str) else measured(metric, score, at)


def _detail(pair: PairScores) -> dict[str, str | float]:
    """SAEBench's record of one pair: a missing score has no key."""
    values = {
        f"{metric}_threshold_{n}": score.value
        for metric, by_n in pair.by_metric.items()
        for n, score in by_n.items()
        if isinstance(score, Estimate)
    }
    return {"dataset_name": f"{pair.run_name}_results", **values}
