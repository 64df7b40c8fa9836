"""From what the biased probes get right to the scores of spurious-correlation removal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from sae_research.data.paired import PairedSet
from sae_research.evals.scr.settings import ScrSettings
from sae_research.evals.shared.ablation_settings import too_few
from sae_research.measurements import EvalOutput, Measurement, measured
from sae_research.metrics.intervals import Estimate, Sums, average, jackknife
from sae_research.probes.draws import Rules
from sae_research.saes.base import Sae

# The least gap between clean and biased accuracy that a score may be divided by: SAEBench's.
_LEAST_GAP = 1e-3
DIRECTIONS = (1, 2)


class PairProbes(NamedTuple):
    """What the model alone settles about one pair: which test texts its probes get right, by direction."""

    clean: Mapping[int, np.ndarray]
    """The probe that was trained without bias on what the direction asks for."""
    biased: Mapping[int, np.ndarray]

    def gap(self, direction: int) -> float:
        """How much accuracy the bias costs."""
        return float(self.clean[direction].mean() - self.biased[direction].mean())

    @property
    def worse(self) -> int | None:
        """The direction in which the biased probe is less accurate; None where there is none."""
        one, two = (float(self.biased[direction].mean()) for direction in DIRECTIONS)
        return None if one == two else 1 if one < two else 2


Changed = Mapping[int, np.ndarray]
"""Which test texts the biased probe gets right after ablation, by direction: (n, texts), NaN where n is too large."""
Found = Estimate | str
"""A score, or the reason why there is none."""


class PairScores(NamedTuple):
    """The scores of one SAE on one pair, by metric and n."""

    paired: PairedSet
    by_metric: Mapping[str, Mapping[int, Found]]


def score_pair(
    paired: PairedSet, probes: PairProbes, changed: Changed, n_values: Sequence[int], rules: Rules
) -> PairScores:
    """Both directions' scores, and `scr_metric`: that of the direction in which the biased probe is worse."""
    directed = {f"scr_dir{d}": _direction(d, probes, changed[d], n_values, rules) for d in DIRECTIONS}
    worse = probes.worse
    if worse is None:
        reason = "the biased probe is equally accurate in both directions"
        return PairScores(paired, {"scr_metric": dict.fromkeys(n_values, reason), **directed})
    return PairScores(paired, {"scr_metric": directed[f"scr_dir{worse}"], **directed})


def _direction(
    direction: int, probes: PairProbes, changed: np.ndarray, n_values: Sequence[int], rules: Rules
) -> dict[int, Found]:
    if probes.gap(direction) < _LEAST_GAP:
        nothing = f"the bias costs less than {_LEAST_GAP:g} of accuracy in direction {direction}"
        return dict.fromkeys(n_values, Estimate(0.0) if rules == "sae_bench" else nothing)
    rows = {"clean": probes.clean[direction], "biased": probes.biased[direction]}
    known = {n: hits for n, hits in zip(n_values, changed, strict=True) if not np.isnan(hits).any()}
    estimates = jackknife({**rows, **{str(n): hits for n, hits in known.items()}}, _won_back)
    return {n: estimates[str(n)] if n in known else too_few(n) for n in n_values}


def _won_back(sums: Sums) -> Sums:
    """The share of the gap that each ablation closes; all are judged on the same texts, so that counts suffice."""
    gap = sums["clean"] - sums["biased"]
    after = {name: total for name, total in sums.items() if name not in {"clean", "biased"}}
    return {name: (total - sums["biased"]) / gap for name, total in after.items()}


def scr_output(
    sae: Sae, scores: Sequence[PairScores], probes: Sequence[PairProbes], settings: ScrSettings
) -> EvalOutput:
    """Means over all pairs that have a score, and each pair's own."""
    measurements: list[Measurement] = []
    for metric in ("scr_metric", "scr_dir1", "scr_dir2"):
        for n in settings.n_values:
            measurements.append(_mean(metric, n, [own.by_metric[metric][n] for own in scores]))
            for own in scores:
                at = {"n": n, "dataset": own.paired.name, "pair": " / ".join(own.paired.pair)}
                measurements.append(_measurement(metric, own.by_metric[metric][n], at))
    return EvalOutput(
        tuple(measurements),
        details=[_detail(own) for own in scores],
        unstructured={_run_name(own.paired): _accuracies(found) for own, found in zip(scores, probes, strict=True)},
    )


def _mean(metric: str, n: int, found: Sequence[Found]) -> Measurement:
    known = [estimate for estimate in found if isinstance(estimate, Estimate)]
    reasons = [reason for reason in found if isinstance(reason, str)]
    return _measurement(metric, average(known) if known else "; ".join(dict.fromkeys(reasons)), {"n": n})


def _measurement(metric: str, found: Found, at: Mapping[str, int | float | str]) -> Measurement:
    return Measurement(metric, None, reason=found, at=at) if isinstance(found, str) else measured(metric, found, at)


def _run_name(paired: PairedSet) -> str:
    return f"{paired.name}_scr_{paired.pair[0]}_{paired.pair[1]}"


def _detail(own: PairScores) -> dict[str, str | float]:
    """SAEBench's record of one pair: it has no key for what is missing."""
    values = {
        f"{metric}_threshold_{n}": found.value
        for metric, by_n in own.by_metric.items()
        for n, found in by_n.items()
        if isinstance(found, Estimate)
    }
    return {"dataset_name": f"{_run_name(own.paired)}_results", **values}


def _accuracies(probes: PairProbes) -> dict[str, float]:
    """The model's own accuracies that the scores are made of."""
    return {
        f"{kind}_accuracy_dir{d}": float(getattr(probes, kind)[d].mean())
        for kind in ("clean", "biased")
        for d in DIRECTIONS
    }
