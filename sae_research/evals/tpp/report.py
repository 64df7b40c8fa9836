"""From what the probes get right to the scores of targeted probe perturbation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from sae_research.data.labelled import LabelledSet
from sae_research.evals.shared.ablation_settings import too_few
from sae_research.measurements import EvalOutput, Measurement, measured
from sae_research.metrics.intervals import Estimate, Sums, average, jackknife
from sae_research.saes.base import Sae

METRICS = ("tpp_total_metric", "tpp_intended_diff_only", "tpp_unintended_diff_only")


class TppHits(NamedTuple):
    """What the probes get right of one data set's test texts, and which texts count."""

    clean: np.ndarray
    """(texts, classes): whether the class's probe is right."""
    ablated: np.ndarray
    """(texts, ablated class, n, class): the same after the ablation."""
    counts_clean: np.ndarray
    """(texts, classes): whether the text belongs to the class's test."""
    counts_ablated: np.ndarray
    """The same after ablations; sizes of 1 where all are alike."""
    possible: tuple[bool, ...]
    """By n: whether the SAE has so many latents."""


class SetScores(NamedTuple):
    """The scores of one SAE on one data set, for each n that is possible."""

    name: str
    by_n: Mapping[int, Mapping[str, Estimate]]
    """By metric, over all classes."""
    by_class: Mapping[str, Mapping[str, float]]
    """SAEBench's numbers of each class."""


def score_set(labelled: LabelledSet, hits: TppHits, n_values: Sequence[int]) -> SetScores:
    """The means over classes of what their probes lose by their own ablation and by the others'."""
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
        by_n[n] = jackknife(rows, _class_means)
        lost = _losses({name: values.sum(axis=0) for name, values in rows.items()})
        for place, own in enumerate(by_class.values()):
            own.update({_key(metric, n): float(lost[metric][place]) for metric in METRICS})
    return SetScores(labelled.name, by_n, by_class)


def _losses(sums: Sums) -> dict[str, np.ndarray]:
    """The three metrics of every ablated class (last axis)."""
    clean = sums["clean"] / sums["counts_clean"]
    lost = clean[..., None, :] - sums["ablated"] / sums["counts_ablated"]
    n = lost.shape[-1]
    intended = np.diagonal(lost, axis1=-2, axis2=-1)
    unintended = (lost.sum(axis=-1) - intended) / (n - 1)
    return dict(zip(METRICS, (intended - unintended, intended, unintended), strict=True))


def _class_means(sums: Sums) -> Sums:
    return {metric: values.mean(axis=-1) for metric, values in _losses(sums).items()}


def _key(metric: str, n: int) -> str:
    return f"tpp_threshold_{n}_{metric.removeprefix('tpp_')}"


def tpp_output(sae: Sae, scores: Sequence[SetScores], n_values: Sequence[int]) -> EvalOutput:
    """Means over data sets, and each data set's own."""
    measurements: list[Measurement] = []
    for metric in METRICS:
        for n in n_values:
            found = {own.name: own.by_n[n][metric] for own in scores if n in own.by_n}
            if not found:
                measurements.append(Measurement(metric, None, reason=too_few(n), at={"n": n}))
                continue
            measurements.append(measured(metric, average(list(found.values())), {"n": n}))
            measurements += [measured(metric, own, {"n": n, "dataset": name}) for name, own in found.items()]
    return EvalOutput(
        tuple(measurements),
        details=[_detail(own) for own in scores],
        unstructured={own.name: own.by_class for own in scores},
    )


def _detail(own: SetScores) -> dict[str, str | float]:
    values = {_key(metric, n): found[metric].value for n, found in own.by_n.items() for metric in METRICS}
    return {"dataset_name": f"{own.name}_tpp_results", **values}
