"""From the scores of probes to measurements and to SAEBench's records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from types import MappingProxyType
from typing import NamedTuple

from sae_research.evals.shared.seeds import seeded
from sae_research.evals.sparse_probing.best_latents import BEST_LATENTS
from sae_research.measurements import EvalOutput, Measurement, measured
from sae_research.metrics.accuracies import mean_accuracy
from sae_research.metrics.draws import Repeated, average_repeated
from sae_research.probes.tasks import ClassTests


class ProbeScores(NamedTuple):
    """How probes on the model's channels, or on an SAE's latents, do on one data set."""

    wide: ClassTests
    """With all features; empty where that is switched off."""
    top: Mapping[int, ClassTests]
    """With the k best; a k above the number of features is absent."""
    best: Mapping[str, int] = MappingProxyType({})
    """By class the feature that separates it best."""


ScoresBySeed = Mapping[int, ProbeScores]
"""By seed; all seeds have the same classes."""


def probing_output(
    sae_scores: Mapping[str, ScoresBySeed],
    model_scores: Mapping[str, ScoresBySeed],
    k_values: Sequence[int],
) -> EvalOutput:
    """Accuracies of the SAE's and the model's probes: over all data sets, and for each."""
    scores = {"llm": model_scores, "sae": sae_scores}
    probes = [(kind, k) for kind in scores for k in (None, *k_values)]
    measurements: list[Measurement] = []
    for kind, k in probes:
        tests = {name: _tests(by_seed, k) for name, by_seed in scores[kind].items()}
        measurements += _measurements(kind, k, tests)
    records: dict[str, dict[str, dict[str, float] | None]] = {name: {} for name in sae_scores}
    for name, record in records.items():
        for kind, k in probes:
            key = f"{kind}_test_accuracy" if k is None else f"{kind}_top_{k}_test_accuracy"
            record[key] = _by_class(_tests(scores[kind][name], k))
    return EvalOutput(
        tuple(measurements),
        details=[
            {"dataset_name": f"{name}_results"}
            | {key: fmean(by_class.values()) if by_class else None for key, by_class in record.items()}
            for name, record in records.items()
        ],
        unstructured={
            **{f"{name}_results": record for name, record in records.items()},
            BEST_LATENTS: {name: dict(next(iter(by_seed.values())).best) for name, by_seed in sae_scores.items()},
        },
    )


def _tests(scores: ScoresBySeed, k: int | None) -> dict[int, ClassTests]:
    """By seed the tests of the probes on k features, or on all of them."""
    return {seed: of_seed.wide if k is None else of_seed.top.get(k, {}) for seed, of_seed in scores.items()}


def _measurements(kind: str, k: int | None, sets: Mapping[str, Mapping[int, ClassTests]]) -> Iterator[Measurement]:
    """The mean over data sets of the mean over classes, then each seed's, their spread, and each data set's own."""
    metric = f"{kind}_test_accuracy" if k is None else f"{kind}_top_k_test_accuracy"
    at: dict[str, int | float | str] = {} if k is None else {"k": k}
    means = {name: _over_classes(seeds) for name, seeds in sets.items() if all(seeds.values())}
    if len(means) < len(sets):
        owner = "the SAE has fewer latents" if kind == "sae" else "the model has fewer channels"
        reason = "sparse_probing.wide_probes is false" if k is None else f"{owner} than k = {k}"
        yield Measurement(metric, None, reason=reason, at=at)
        return
    yield from seeded(metric, average_repeated(list(means.values())), at, bounds=(0.0, 1.0))
    for name, mean in means.items():
        yield measured(metric, mean.with_draws((0.0, 1.0)), {**at, "dataset": name})


def _over_classes(seeds: Mapping[int, ClassTests]) -> Repeated:
    tests = [test for by_class in seeds.values() for test in by_class.values()]
    return Repeated(
        mean_accuracy(tests), {seed: mean_accuracy(list(by_class.values())) for seed, by_class in seeds.items()}
    )


def _by_class(seeds: Mapping[int, ClassTests]) -> dict[str, float] | None:
    """The accuracy of each class, the mean over seeds; None where k is above the number of features."""
    classes = list(next(iter(seeds.values())))
    return {name: fmean(tests[name].accuracy for tests in seeds.values()) for name in classes} or None
