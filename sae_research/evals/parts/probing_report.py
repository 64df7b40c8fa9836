"""From the scores of probes to measurements and to SAEBench's records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from sae_research.metrics.intervals import Estimate, average, wilson
from sae_research.probes.tasks import Score, Scores
from sae_research.results.record import EvalOutput, Measurement, measured
from sae_research.saes.base import Sae


class SetScores(NamedTuple):
    """What probes on one kind of features reach on one data set."""

    wide: Scores
    """With all features."""
    top: Mapping[int, Scores]
    """With the k best; a k above their number is absent."""


def probing_output(
    sae: Sae, own: Mapping[str, SetScores], model: Mapping[str, SetScores], k_values: Sequence[int]
) -> EvalOutput:
    """Accuracies of the SAE's and the model's probes: over all data sets, and for each."""
    found = {"llm": model, "sae": own}
    measurements: list[Measurement] = []
    for kind, sets in found.items():
        for k in (None, *k_values):
            measurements += _measurements(kind, k, {name: _accuracies(s, k) for name, s in sets.items()})
    return EvalOutput(
        tuple(measurements),
        details=[
            {"dataset_name": f"{name}_results"}
            | {_key(kind, k): _mean(found[kind][name], k) for kind in found for k in (None, *k_values)}
            for name in own
        ],
        unstructured={
            f"{name}_results": {
                _key(kind, k): _by_class(found[kind][name], k) for kind in found for k in (None, *k_values)
            }
            for name in own
        },
    )


def _measurements(kind: str, k: int | None, sets: Mapping[str, Mapping[str, Estimate]]) -> Iterator[Measurement]:
    """The mean over data sets of the mean over classes, then each data set's own."""
    metric = f"{kind}_test_accuracy" if k is None else f"{kind}_top_k_test_accuracy"
    at: dict[str, int | float | str] = {} if k is None else {"k": k}
    means = {name: average(list(classes.values())) for name, classes in sets.items() if classes}
    if len(means) < len(sets):
        owner = "the SAE has fewer latents" if kind == "sae" else "the model has fewer channels"
        yield Measurement(metric, None, reason=f"{owner} than k = {k}", at=at)
        return
    yield measured(metric, average(list(means.values())), at)
    for name, estimate in means.items():
        yield measured(metric, estimate, {**at, "dataset": name})


def _key(kind: str, k: int | None) -> str:
    return f"{kind}_test_accuracy" if k is None else f"{kind}_top_{k}_test_accuracy"


def _scores(scores: SetScores, k: int | None) -> Mapping[str, Score]:
    return scores.wide if k is None else scores.top.get(k, {})


def _accuracies(scores: SetScores, k: int | None) -> dict[str, Estimate]:
    return {name: wilson(*score) for name, score in _scores(scores, k).items()}


def _by_class(scores: SetScores, k: int | None) -> dict[str, float] | None:
    return {name: score.correct / score.total for name, score in _scores(scores, k).items()} or None


def _mean(scores: SetScores, k: int | None) -> float | None:
    classes = list(_accuracies(scores, k).values())
    return average(classes).value if classes else None
