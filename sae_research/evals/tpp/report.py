"""From what the probes get right to the scores of targeted probe perturbation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

import numpy as np

from sae_research.data.labelled import LabelledSet
from sae_research.evals.shared.ablation_settings import BY_SHARE_NEEDS_KEYED, Ablations, too_few
from sae_research.evals.shared.seeds import seeded
from sae_research.measurements import EvalOutput, Measurement, measured
from sae_research.metrics.draws import Repeated, average_repeated, over_seeds
from sae_research.metrics.groups import by_number
from sae_research.metrics.intervals import Estimate, Sums, jackknife

METRICS: tuple[str, ...] = ("tpp_total_metric", "tpp_intended_diff_only", "tpp_unintended_diff_only")
BY_SHARE = "tpp_total_metric_by_share"


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
    texts: np.ndarray
    """The number of each text: the same for every seed that tests on it."""
    possible: tuple[bool, ...]
    """By n: whether the SAE has that many latents."""


class TppScores(NamedTuple):
    """The scores of one SAE on one data set, means over seeds, for each n that is possible."""

    name: str
    by_n: Mapping[int, Mapping[str, Repeated]]
    """By metric, over all classes."""
    by_class: Mapping[str, Mapping[str, float]]
    """SAEBench's numbers for each class."""


def score_set(labelled: LabelledSet, hits: Mapping[int, TppHits], n_values: Sequence[int]) -> TppScores:
    """What the probes lose by their own class's ablation and by the others': means over classes, and each class's."""
    first = next(iter(hits.values()))
    places = {n: place for place, n in enumerate(n_values) if first.possible[place]}
    by_n: dict[int, Mapping[str, Repeated]] = {}
    by_class: dict[str, dict[str, float]] = {name: {} for name in labelled.test}
    for n, place in places.items():
        rows = {seed: _rows(of_seed, place) for seed, of_seed in hits.items()}
        scores = {seed: _class_means(of_seed, hits[seed].texts) for seed, of_seed in rows.items()}
        by_n[n] = {
            metric: over_seeds({seed: of_seed[metric] for seed, of_seed in scores.items()}) for metric in METRICS
        }
        losses = [_losses({name: values.sum(axis=0) for name, values in of_seed.items()}) for of_seed in rows.values()]
        for column, values in enumerate(by_class.values()):
            values.update(
                {_key(metric, n): fmean(float(of_seed[metric][column]) for of_seed in losses) for metric in METRICS}
            )
    return TppScores(labelled.name, by_n, by_class)


def _rows(hits: TppHits, place: int) -> dict[str, np.ndarray]:
    """What each text adds to the sums behind the losses, at one n."""
    counts = np.broadcast_to(hits.counts_ablated, hits.ablated.shape)[:, :, place]
    rows = {
        "clean": hits.clean & hits.counts_clean,
        "counts_clean": hits.counts_clean,
        "ablated": hits.ablated[:, :, place] & counts,
        "counts_ablated": counts,
    }
    return {name: values.astype(np.float64) for name, values in rows.items()}


def _class_means(rows: Mapping[str, np.ndarray], texts: np.ndarray) -> dict[str, Estimate]:
    """One seed's metrics over all classes."""
    counts = rows["counts_clean"].sum(axis=0)
    # An ablation that turns no text can turn the next one: that much is the least that a mean can be wrong by.
    least = dict.fromkeys(METRICS, 1 / (float(counts.max()) * len(counts)))
    return jackknife(
        rows,
        lambda sums: {metric: losses.mean(axis=-1) for metric, losses in _losses(sums).items()},
        groups=by_number(texts),
        least=least,
    )


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


def tpp_output(scores: Sequence[TppScores], ablations: Ablations, n_shares: Sequence[int] = ()) -> EvalOutput:
    """Means over data sets, and each data set's own."""
    measurements: list[Measurement] = []
    for metric in METRICS:
        for n in ablations.n_values:
            numbers = {of_set.name: of_set.by_n[n][metric] for of_set in scores if n in of_set.by_n}
            measurements += _over_sets(metric, numbers, {"n": n}, missing=too_few(n))
    for percent in n_shares:
        n = ablations.by_percent.get(percent)
        numbers = {of_set.name: of_set.by_n[n][METRICS[0]] for of_set in scores if n is not None and n in of_set.by_n}
        missing = BY_SHARE_NEEDS_KEYED if n is None else too_few(n)
        measurements += _over_sets(BY_SHARE, numbers, {"percent": percent}, missing=missing)
    return EvalOutput(
        tuple(measurements),
        details=[_detail(of_set, ablations.n_values) for of_set in scores],
        unstructured={of_set.name: of_set.by_class for of_set in scores},
    )


def _over_sets(
    metric: str, numbers: Mapping[str, Repeated], at: Mapping[str, int], *, missing: str
) -> Iterator[Measurement]:
    """The mean of one score over data sets, and each one's; null with the reason `missing` without any."""
    if not numbers:
        yield Measurement(metric, None, reason=missing, at=at)
        return
    yield from seeded(metric, average_repeated(list(numbers.values())), at)
    yield from (measured(metric, e.with_draws(), {**at, "dataset": name}) for name, e in numbers.items())


def _detail(scores: TppScores, n_values: Sequence[int]) -> dict[str, str | float]:
    """SAEBench's record of one data set: a missing score has no key."""
    by_n = {n: numbers for n, numbers in scores.by_n.items() if n in n_values}
    values = {_key(metric, n): numbers[metric].mean.value for n, numbers in by_n.items() for metric in METRICS}
    return {"dataset_name": f"{scores.name}_tpp_results", **values}
