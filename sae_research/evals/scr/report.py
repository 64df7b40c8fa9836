"""From what the biased probes get right to the scores of spurious-correlation removal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from sae_research.data.paired import PairedSet
from sae_research.evals.shared.ablation_settings import BY_SHARE_NEEDS_KEYED, Ablations, too_few
from sae_research.evals.shared.seeds import seeded
from sae_research.measurements import EvalOutput, Measurement, measured
from sae_research.metrics.accuracies import ProbeTest, mean_accuracy
from sae_research.metrics.draws import Repeated, average_repeated, over_seeds
from sae_research.metrics.groups import by_number
from sae_research.metrics.intervals import Estimate, Sums, jackknife
from sae_research.probes.draws import Rules

# The smallest gap between clean and biased accuracy that a score is divided by: SAEBench's.
_LEAST_GAP = 1e-3
DIRECTIONS = (1, 2)
SCORES = ("scr_metric", "scr_dir1", "scr_dir2")
BY_SHARE = "scr_metric_by_share"


class PairProbes(NamedTuple):
    """Which test texts the model's probes of one pair get right, by direction: 1 or 0 per text."""

    clean: Mapping[int, np.ndarray]
    """Of the probe trained without bias on the labels that the direction asks for."""
    biased: Mapping[int, np.ndarray]
    texts: np.ndarray
    """The number of each text: the same for every seed that tests on it."""

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
"""One seed's score, or the reason why there is none."""


class PairScores(NamedTuple):
    """The scores of one SAE on one pair, by metric and n; a reason where no seed has one."""

    paired: PairedSet
    by_metric: Mapping[str, Mapping[int, Repeated | str]]

    @property
    def run_name(self) -> str:
        """SAEBench's name of the pair."""
        return f"{self.paired.name}_scr_{self.paired.pair[0]}_{self.paired.pair[1]}"


def score_pair(
    paired: PairedSet,
    probes: Mapping[int, PairProbes],
    hits: Mapping[int, AblatedHits],
    n_values: Sequence[int],
    rules: Rules,
) -> PairScores:
    """The means over seeds of the scores of both directions, and of `scr_metric`."""
    by_seed = {seed: _score_draw(probes[seed], hits[seed], n_values, rules) for seed in probes}
    return PairScores(
        paired,
        {
            metric: {n: _over_seeds({seed: scores[metric][n] for seed, scores in by_seed.items()}) for n in n_values}
            for metric in SCORES
        },
    )


def _score_draw(
    probes: PairProbes, hits: AblatedHits, n_values: Sequence[int], rules: Rules
) -> dict[str, Mapping[int, ScoreOrReason]]:
    """One seed's scores; `scr_metric` is that of the direction in which the biased probe is worse."""
    scores: dict[str, Mapping[int, ScoreOrReason]] = {
        f"scr_dir{d}": _score_direction(d, probes, hits[d], n_values, rules) for d in DIRECTIONS
    }
    worse = probes.worse
    if worse is None:
        reason = "the biased probe is equally accurate in both directions"
        return {"scr_metric": dict.fromkeys(n_values, reason), **scores}
    return {"scr_metric": scores[f"scr_dir{worse}"], **scores}


def _score_direction(
    direction: int, probes: PairProbes, hits: np.ndarray, n_values: Sequence[int], rules: Rules
) -> dict[int, ScoreOrReason]:
    gap = probes.gap(direction)
    if gap < _LEAST_GAP:
        reason = f"the bias costs less than {_LEAST_GAP:g} of accuracy in direction {direction}"
        return dict.fromkeys(n_values, Estimate(0.0) if rules == "sae_bench" else reason)
    rows = {"clean": probes.clean[direction], "biased": probes.biased[direction]}
    possible = {str(n): of_n for n, of_n in zip(n_values, hits, strict=True) if not np.isnan(of_n).any()}
    # An ablation that turns no text can turn the next one: that much is the least that the score can be wrong by.
    least = dict.fromkeys(possible, 1 / (gap * len(probes.texts)))
    scores = jackknife({**rows, **possible}, _recovered, groups=by_number(probes.texts), least=least)
    return {n: scores[str(n)] if str(n) in possible else too_few(n) for n in n_values}


def _recovered(sums: Sums) -> Sums:
    """The share of the gap that each ablation closes. All probes see the same texts, so counts suffice."""
    gap = sums["clean"] - sums["biased"]
    after = {name: total for name, total in sums.items() if name not in {"clean", "biased"}}
    return {name: (total - sums["biased"]) / gap for name, total in after.items()}


def _over_seeds(by_seed: Mapping[int, ScoreOrReason]) -> Repeated | str:
    """The mean over the seeds that have a score."""
    scores = {seed: score for seed, score in by_seed.items() if isinstance(score, Estimate)}
    if not scores:
        return _reasons(by_seed.values())
    return over_seeds(scores)


def _reasons(values: Iterable[object]) -> str:
    return "; ".join(dict.fromkeys(value for value in values if isinstance(value, str)))


def scr_output(
    scores: Sequence[PairScores],
    probes: Sequence[Mapping[int, PairProbes]],
    ablations: Ablations,
    n_shares: Sequence[int] = (),
) -> EvalOutput:
    """Means over all pairs that have a score, each pair's own, and the accuracies that they are shares of."""
    measurements: list[Measurement] = []
    for metric in SCORES:
        for n in ablations.n_values:
            measurements += _over_pairs(metric, scores, [pair.by_metric[metric][n] for pair in scores], {"n": n})
    for percent in n_shares:
        n = ablations.by_percent.get(percent)
        of_pairs = [BY_SHARE_NEEDS_KEYED if n is None else pair.by_metric["scr_metric"][n] for pair in scores]
        measurements += _over_pairs(BY_SHARE, scores, of_pairs, {"percent": percent})
    accuracies = {pair.run_name: _accuracies(of_pair) for pair, of_pair in zip(scores, probes, strict=True)}
    measurements += _accuracy_measurements(scores, accuracies)
    return EvalOutput(
        tuple(measurements),
        details=[_detail(pair, ablations.n_values) for pair in scores],
        unstructured={
            name: {f"{kind}_accuracy_dir{d}": number.mean.value for (kind, d), number in of_pair.items()}
            for name, of_pair in accuracies.items()
        },
    )


def _over_pairs(
    metric: str, scores: Sequence[PairScores], of_pairs: Sequence[Repeated | str], at: Mapping[str, int]
) -> Iterator[Measurement]:
    """The mean of one score over the pairs that have it, and each pair's."""
    known = [score for score in of_pairs if isinstance(score, Repeated)]
    if known:
        yield from seeded(metric, average_repeated(known), at)
    else:
        yield Measurement(metric, None, reason=_reasons(of_pairs), at=at)
    for pair, score in zip(scores, of_pairs, strict=True):
        if isinstance(score, Repeated):
            yield measured(metric, score.with_draws(), {**at, **_place(pair)})
        else:
            yield Measurement(metric, None, reason=score, at={**at, **_place(pair)})


def _place(pair: PairScores) -> dict[str, int | float | str]:
    return {"dataset": pair.paired.name, "pair": " / ".join(pair.paired.pair)}


def _accuracies(probes: Mapping[int, PairProbes]) -> dict[tuple[str, int], Repeated]:
    """By kind of probe and direction the accuracy that no SAE has a part in."""
    accuracies = {}
    for kind in ("clean", "biased"):
        for direction in DIRECTIONS:
            tests = {s: ProbeTest(getattr(p, kind)[direction], p.texts) for s, p in probes.items()}
            by_seed = {seed: mean_accuracy([test]) for seed, test in tests.items()}
            accuracies[kind, direction] = Repeated(mean_accuracy(list(tests.values())), by_seed)
    return accuracies


def _accuracy_measurements(
    scores: Sequence[PairScores], accuracies: Mapping[str, Mapping[tuple[str, int], Repeated]]
) -> Iterator[Measurement]:
    """A_clean and A_biased over all pairs, and each pair's."""
    for kind in ("clean", "biased") if accuracies else ():
        for direction in DIRECTIONS:
            at: dict[str, int | float | str] = {"direction": direction}
            numbers = [of_pair[kind, direction] for of_pair in accuracies.values()]
            yield measured(f"scr_{kind}_accuracy", average_repeated(numbers).with_draws((0.0, 1.0)), at)
            for pair, number in zip(scores, numbers, strict=True):
                yield measured(f"scr_{kind}_accuracy", number.with_draws((0.0, 1.0)), {**at, **_place(pair)})


def _detail(pair: PairScores, n_values: Sequence[int]) -> dict[str, str | float]:
    """SAEBench's record of one pair: a missing score has no key."""
    values = {
        f"{metric}_threshold_{n}": score.mean.value
        for metric, by_n in pair.by_metric.items()
        for n, score in by_n.items()
        if n in n_values and isinstance(score, Repeated)
    }
    return {"dataset_name": f"{pair.run_name}_results", **values}
