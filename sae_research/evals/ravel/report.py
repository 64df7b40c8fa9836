"""From answers to pairs to RAVEL's scores, with intervals over entities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sae_research.evals.ravel.prompts import Prompts
from sae_research.evals.ravel.specs import BASELINE, SCORES, VARIANTS
from sae_research.evals.ravel.training import Achieved
from sae_research.measurements import EvalOutput, Measurement, measured
from sae_research.metrics.intervals import Estimate, Sums, average, jackknife

_ALL = "all"
At = dict[str, int | float | str]


@dataclass(frozen=True)
class ClassHits:
    """What one SAE or baseline did on one class of entities."""

    prompts: Prompts
    """Those that the model answers correctly."""
    n_asked: int
    """Prompts of which these are the correctly answered ones of the entities kept."""
    attributes: dict[str, Achieved]


Scores = Mapping[str, Mapping[str, Estimate]]
"""By attribute (and `all`, their mean) and score; what has no pairs is absent."""


def ravel_output(own: Mapping[str, ClassHits], baselines: Mapping[str, Mapping[str, ClassHits]]) -> EvalOutput:
    """Scores of an SAE and, beside them, of the baselines: overall, and by class of entities and attribute."""
    measurements: list[Measurement] = []
    for prefix in VARIANTS:
        measurements += _measurements(prefix, own, prefix, {})
    for name, hits in baselines.items():
        measurements += _measurements(BASELINE, hits, "", {"baseline": name})
    return EvalOutput((*measurements, *_latents(own), *_prompts_kept(own)), unstructured=_as_sae_bench(own))


def _measurements(prefix: str, classes: Mapping[str, ClassHits], variant: str, at: At) -> Iterator[Measurement]:
    found = {name: class_scores(hits, variant) for name, hits in classes.items()}
    for score in SCORES:
        whole = [scores[_ALL][score] for scores in found.values() if score in scores.get(_ALL, {})]
        if len(whole) == len(found):
            yield measured(f"{prefix}{score}", average(whole), at)
        else:
            yield Measurement(f"{prefix}{score}", None, reason=_lacking(classes, found), at=at)
        for entity_class, hits in classes.items():
            for attribute in hits.attributes:
                place: At = {**at, "entity": entity_class, "attribute": attribute}
                estimate = found[entity_class].get(attribute, {}).get(score)
                if estimate is None:
                    yield Measurement(f"{prefix}{score}", None, reason=_no_pairs(entity_class, attribute), at=place)
                else:
                    yield measured(f"{prefix}{score}", estimate, place)


def _no_pairs(entity_class: str, attribute: str) -> str:
    return f"too few prompts on {attribute} of {entity_class} answered correctly by the model to make pairs"


def _lacking(classes: Mapping[str, ClassHits], found: Mapping[str, Scores]) -> str:
    """The reason for the first attribute without scores."""
    return next(
        _no_pairs(name, attribute)
        for name, hits in classes.items()
        for attribute in hits.attributes
        if attribute not in found[name]
    )


def class_scores(hits: ClassHits, variant: str) -> Scores:
    """Cause, isolation and their mean for each attribute that has pairs of both kinds, and over all attributes.

    The interval is a delete-one jackknife over the entities of base prompts, across attributes.
    """
    usable = [
        name
        for name, a in hits.attributes.items()
        if variant in a.hits and 0 < int(a.pairs.is_cause.sum()) < len(a.pairs)
    ]
    if not usable:
        return {}
    rows = _rows(hits, usable, variant)
    names = list(SCORES)
    bounds = {f"{i}/{score}": (0.0, 1.0) for i in (*range(len(usable)), _ALL) for score in names}
    found = jackknife(rows, _statistic, bounds=bounds)
    by_attribute = {attribute: {score: found[f"{i}/{score}"] for score in names} for i, attribute in enumerate(usable)}
    if len(usable) < len(hits.attributes):
        return by_attribute
    return {**by_attribute, _ALL: {score: found[f"{_ALL}/{score}"] for score in names}}


def _rows(hits: ClassHits, attributes: Sequence[str], variant: str) -> dict[str, np.ndarray]:
    """Right answers and pairs of each kind, by base entity and attribute."""
    entities = {item.entity: None for item in hits.prompts.items}
    place = {entity: i for i, entity in enumerate(entities)}
    rows = {f"{kind} {what}": np.zeros((len(place), len(attributes))) for kind in ("cause", "isolation")
            for what in ("hits", "pairs")}  # fmt: skip
    for column, attribute in enumerate(attributes):
        achieved = hits.attributes[attribute]
        base = np.array([place[hits.prompts.items[i].entity] for i in achieved.pairs.base.tolist()])
        is_cause = achieved.pairs.is_cause.numpy()
        for kind, chosen in (("cause", is_cause), ("isolation", ~is_cause)):
            np.add.at(rows[f"{kind} pairs"][:, column], base[chosen], 1)
            np.add.at(rows[f"{kind} hits"][:, column], base[chosen], achieved.hits[variant][chosen])
    tested = sum(rows[f"{kind} pairs"].sum(axis=1) for kind in ("cause", "isolation")) > 0
    return {name: table[tested] for name, table in rows.items()}


def _statistic(sums: Sums) -> Sums:
    cause = sums["cause hits"] / sums["cause pairs"]
    isolation = sums["isolation hits"] / sums["isolation pairs"]
    scores = {"cause_score": cause, "isolation_score": isolation, "disentanglement_score": (cause + isolation) / 2}
    found = {f"{_ALL}/{name}": values.mean(axis=-1) for name, values in scores.items()}
    for i in range(cause.shape[-1]):
        found |= {f"{i}/{name}": values[..., i] for name, values in scores.items()}
    return found


def _latents(classes: Mapping[str, ClassHits]) -> Iterator[Measurement]:
    counts = {
        (name, attribute): achieved.n_swapped
        for name, hits in classes.items()
        for attribute, achieved in hits.attributes.items()
    }
    known = [count for count in counts.values() if count is not None]
    yield Measurement("n_latents_swapped", sum(known) / len(known))
    for (name, attribute), count in counts.items():
        assert count is not None
        yield Measurement("n_latents_swapped", float(count), at={"entity": name, "attribute": attribute})


def _prompts_kept(classes: Mapping[str, ClassHits]) -> Iterator[Measurement]:
    for name, hits in classes.items():
        at: At = {"entity": name}
        if hits.n_asked:
            yield Measurement("prompts_kept", len(hits.prompts.items) / hits.n_asked, at=at)
        else:
            yield Measurement("prompts_kept", None, reason=f"the data set has no prompts on {name}", at=at)


def _as_sae_bench(classes: Mapping[str, ClassHits]) -> dict[str, dict[str, dict[str, float]]]:
    """SAEBench's nested record: class of entities, attribute, score."""
    spoken = {"cause_score": "cause_score", "isolation_score": "isolation_score",
              "disentanglement_score": "disentangle_score"}  # fmt: skip
    return {
        f"{name}_results": {
            f"{name}_{attribute}": {theirs: scores[ours].value for ours, theirs in spoken.items()}
            for attribute, scores in class_scores(hits, "").items()
            if attribute != _ALL
        }
        for name, hits in classes.items()
    }
