"""From what the probes get right to the scores of targeted probe perturbation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from sae_research.data.labelled import LabelledSet
from sae_research.evals.shared.ablation_settings import too_few
from sae_research.measurements import EvalOutput, Measurement, measured
from sae_research.metrics.intervals import Estimate, Sums, average, jackknife

METRICS = ("tpp_total_metric", "tpp_intended_diff_only", "tpp_unintended_diff_only")


class TppHits(NamedTuple):
    """The hits of the probes on one data set's test texts, and which texts count."""

    clean: np.ndarray
    """(texts, classes): whether the class's probe is right."""
    ablated: np.ndarray
    """(texts, ablated class, n, class): whether it is right after the ablation."""
    counts_clean: np.ndarray
    """(texts, classes): whether the text belongs to the class's test."""
    counts_ablated: np.ndarray
    """The same after ablations; of size 1 along an axis where they do not differ."""
    possible: tuple[bool, ...]
    """By n: whether the SAE has that many latents."""


class TppScores(NamedTuple):
    """The scores of one SAE on one data set, for each n that is possible."""

    name: str
    by_n: Mapping[int, Mapping[str, Estimate]]
    """By metric, over all classes."""
    by_class: Mapping[str, Mapping[str, float]]
    """SAEBench's numbers for each class."""


def score_set(labelled: LabelledSet, hits: TppHits, n_values: Sequence[int]) -> TppScores:
    """What probes lose by their own class's ablation and by the others': means over classes, and each class's."""
    by_n: dict[int, Mapping[str, Estimate]] = {}
    by_class: dict[str, dict[str, float]] = {name: {} for name in labelled.test}
    for i, n in enumerate(n_values):
        if not hits.possible[i]:
            continue
        counts = np.broadcast_to(hits.counts_ablated, hits.ablated.shape)[:, :, i]
        rows = {
            "clean": hits.clean & hits.counts_clean,
            "counts_clean": hits.counts_clean,
            "ablated": hits.ablated[:, :, i] & counts,
            "counts_ablated": counts,
        }
        rows = {name: values.astype(np.float64) for name, values in rows.items()}
        by_n[n] = jackknife(rows, lambda s: {metric: losses.mean(axis=-1) for metric, losses in _losses(s).items()})
        losses = _losses({name: values.sum(axis=0) for name, values in rows.items()})
        for place, values in enumerate(by_class.values()):
            values.update({_key(metric, n): float(losses[metric][place]) for metric in METRICS})
    return TppScores(labelled.name, by_n, by_class)


def _losses(sums: Sums) -> dict[str, np.ndarray]:
    """The three metrics for every ablated class (last axis)."""
    clean = sums["clean"] / sums["counts_clean"]
    lost = clean[..., None, :] - sums["ablated"] / sums["counts_ablated"]
    n = lost.shape[-1]
    intended = np.diagonal(lost, axis1=-2, axis2=-1)
    unintended = (lost.sum(axis=-1) - intended) / (n - 1)
    return dict(zip(METRICS, (intended - unintended, intended, unintended), strict=True))


def _key(metric: str, n: int) -> str:
    return f"tpp_threshold_{n}_{metric.removeprefix('tpp_')}"


def tpp_output(scores: Sequence[TppScores], n_values: Sequence[int]) -> EvalOutput:
    """Means over data sets, and each data set's own."""
    measurements: list[Measurement] = []
    for metric in METRICS:
        for n in n_values:
            estimates = {of_set.name: of_set.by_n[n][metric] for of_set in scores if n in of_set.by_n}
            if not estimates:
                measurements.append(Measurement(metric, None, reason=too_few(n), at={"n": n}))
                continue
            measurements.append(measured(metric, average(list(estimates.values())), {"n": n}))
            measurements += [measured(metric, e, {"n": n, "dataset": name}) for name, e in estimates.items()]
    return EvalOutput(
        tuple(measurements),
        details=[_detail(of_set) for of_set in scores],
        unstructured={of_set.name: of_set.by_class for of_set in scores},
    )


def _detail(scores: TppScores) -> dict[str, str | float]:
    values = {_key(metric, n): estimates[metric].value for n, estimates in scores.by_n.items() for metric in METRICS}
    return {"dataset_name": f"{scores.name}_tpp_results", **values}
