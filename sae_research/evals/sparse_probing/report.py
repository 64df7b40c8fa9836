"""From the scores of probes to measurements and to SAEBench's records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from sae_research.measurements import EvalOutput, Measurement, measured
from sae_research.metrics.accuracies import mean_accuracy, seed_spread, with_seeds
from sae_research.metrics.intervals import Estimate, average
from sae_research.probes.tasks import Scores
from sae_research.saes.base import Sae


class SetScores(NamedTuple):
    """What probes on one kind of features reach on one data set."""

    wide: Scores
    """With all features."""
    top: Mapping[int, Scores]
    """With the k best; a k above their number is absent."""


SeedScores = Mapping[int, SetScores]
"""By seed; all seeds have the same classes."""


class _Found(NamedTuple):
    """A mean accuracy."""

    estimate: Estimate
    """Over seeds; its interval covers test examples alone."""
    seeds: Mapping[int, float]
    """Each seed's own."""

    @property
    def whole(self) -> Estimate:
        """The mean over seeds with an interval for both test examples and seeds."""
        return with_seeds(self.estimate, list(self.seeds.values()))


def probing_output(
    sae: Sae, own: Mapping[str, SeedScores], model: Mapping[str, SeedScores], k_values: Sequence[int]
) -> EvalOutput:
    """Accuracies of the SAE's and the model's probes: over all data sets, and for each."""
    found = {"llm": model, "sae": own}
    probes = [(kind, k) for kind in found for k in (None, *k_values)]
    measurements: list[Measurement] = []
    for kind, k in probes:
        measurements += _measurements(kind, k, {name: _by_seed(scores, k) for name, scores in found[kind].items()})
    by_class = {name: {_key(kind, k): _by_class(_by_seed(found[kind][name], k)) for kind, k in probes} for name in own}
    return EvalOutput(
        tuple(measurements),
        details=[
            {"dataset_name": f"{name}_results"}
            | {key: fmean(shares.values()) if shares else None for key, shares in by_class[name].items()}
            for name in own
        ],
        unstructured={f"{name}_results": shares for name, shares in by_class.items()},
    )


def _measurements(kind: str, k: int | None, sets: Mapping[str, Mapping[int, Scores]]) -> Iterator[Measurement]:
    """The mean over data sets of the mean over classes, then each seed's, their spread, and each data set's own."""
    metric = f"{kind}_test_accuracy" if k is None else f"{kind}_top_k_test_accuracy"
    at: dict[str, int | float | str] = {} if k is None else {"k": k}
    means = {name: _over_classes(seeds) for name, seeds in sets.items() if all(seeds.values())}
    if len(means) < len(sets):
        owner = "the SAE has fewer latents" if kind == "sae" else "the model has fewer channels"
        yield Measurement(metric, None, reason=f"{owner} than k = {k}", at=at)
        return
    overall = _over_sets(list(means.values()))
    yield measured(metric, overall.whole, at)
    if len(overall.seeds) > 1:
        yield Measurement(f"{metric}_seed_std", seed_spread(list(overall.seeds.values())), at=at)
        yield from (Measurement(metric, value, at={**at, "seed": seed}) for seed, value in overall.seeds.items())
    for name, mean in means.items():
        yield measured(metric, mean.whole, {**at, "dataset": name})


def _over_classes(seeds: Mapping[int, Scores]) -> _Found:
    tests = [test for scores in seeds.values() for test in scores.values()]
    values = {seed: fmean(test.share for test in scores.values()) for seed, scores in seeds.items()}
    return _Found(mean_accuracy(tests), values)


def _over_sets(sets: Sequence[_Found]) -> _Found:
    values = {seed: fmean(own.seeds[seed] for own in sets) for seed in sets[0].seeds}
    return _Found(average([own.estimate for own in sets]), values)


def _key(kind: str, k: int | None) -> str:
    return f"{kind}_test_accuracy" if k is None else f"{kind}_top_{k}_test_accuracy"


def _by_seed(seeds: SeedScores, k: int | None) -> dict[int, Scores]:
    return {seed: scores.wide if k is None else scores.top.get(k, {}) for seed, scores in seeds.items()}


def _by_class(seeds: Mapping[int, Scores]) -> dict[str, float] | None:
    """The accuracy of each class, the mean over seeds; None where k is above the number of features."""
    classes = list(next(iter(seeds.values())))
    return {name: fmean(scores[name].share for scores in seeds.values()) for name in classes} or None
