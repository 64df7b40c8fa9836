"""From the answers on test pairs to RAVEL's scores, with intervals over entities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from sae_research.evals.ravel.prompts import Prompts
from sae_research.evals.ravel.specs import BASELINE, BASELINE_VARIANTS, SCORES, VARIANTS
from sae_research.evals.ravel.training import SwapHits
from sae_research.evals.shared.seeds import seeded
from sae_research.measurements import EvalOutput, Measurement
from sae_research.metrics.draws import Repeated, average_repeated, over_seeds
from sae_research.metrics.groups import GROUPS, dealt
from sae_research.metrics.intervals import Estimate, Sums, average, jackknife

_ALL, _MEAN = "all", "disentanglement_score"
_SHARE = (0.0, 1.0)
At = dict[str, int | float | str]


@dataclass(frozen=True)
class ClassHits:
    """How one SAE or baseline did on one class of entities."""

    prompts: Prompts
    """Those that the model answers correctly."""
    n_asked: int
    """Prompts that the model was asked."""
    draws: dict[int, dict[str, SwapHits]]
    """By seed and attribute."""

    @property
    def attributes(self) -> list[str]:
        """The attributes that were swapped."""
        return list(next(iter(self.draws.values()), {}))

    def swaps(self) -> Iterator[tuple[str, list[SwapHits]]]:
        """Each attribute with its swaps, one of each seed."""
        for attribute in self.attributes:
            yield attribute, [swaps[attribute] for swaps in self.draws.values()]


AttributeScores = Mapping[str, Mapping[str, Repeated]]
"""By attribute (and `all`, their mean) and score; an attribute without pairs is absent."""


def ravel_output(classes: Mapping[str, ClassHits], baselines: Mapping[str, Mapping[str, ClassHits]]) -> EvalOutput:
    """Scores of an SAE, then of the baselines: overall, and by class of entities and attribute."""
    measurements: list[Measurement] = []
    for prefix in VARIANTS:
        measurements += _measurements(prefix, classes, prefix, {})
    for name, hits in baselines.items():
        for variant in BASELINE_VARIANTS:
            measurements += _measurements(f"{BASELINE}{variant}", hits, variant, {"baseline": name})
    return EvalOutput(
        (*measurements, *_latents_swapped(classes), *_sizes(classes), *_prompts_kept(classes)),
        unstructured=_as_sae_bench(classes),
    )


def _measurements(prefix: str, classes: Mapping[str, ClassHits], variant: str, at: At) -> Iterator[Measurement]:
    # All classes get equally many groups of entities, so that a mean over classes can leave one out of each.
    groups = min((GROUPS, *(n for n in (len(_tested(hits)) for hits in classes.values()) if n)))
    by_class = {name: class_scores(hits, variant, groups=groups) for name, hits in classes.items()}
    for score in SCORES:
        overall = [scores[_ALL][score] for scores in by_class.values() if score in scores.get(_ALL, {})]
        if len(overall) == len(by_class):
            yield from seeded(f"{prefix}{score}", average_repeated(overall), at, _SHARE)
        else:
            # The reason of the first attribute without scores.
            reason = next(
                _no_pairs(name, attribute)
                for name, hits in classes.items()
                for attribute in hits.attributes
                if attribute not in by_class[name]
            )
            yield Measurement(f"{prefix}{score}", None, reason=reason, at=at)
        for entity_class, hits in classes.items():
            for attribute in hits.attributes:
                place: At = {**at, "entity": entity_class, "attribute": attribute}
                number = by_class[entity_class].get(attribute, {}).get(score)
                if number is None:
                    yield Measurement(f"{prefix}{score}", None, reason=_no_pairs(entity_class, attribute), at=place)
                else:
                    yield from seeded(f"{prefix}{score}", number, place, _SHARE)


def _no_pairs(entity_class: str, attribute: str) -> str:
    return f"the model answers too few prompts on {attribute} of {entity_class} correctly to form pairs"


def class_scores(hits: ClassHits, variant: str, *, groups: int = GROUPS) -> AttributeScores:
    """Cause, isolation and their mean for each attribute that has pairs of both kinds, and over all attributes.

    The mean over seeds. The sampling units are the entities of base prompts, across attributes and seeds, in so many
    groups at most.
    """
    by_seed = {seed: _draw_scores(hits, swaps, variant, groups) for seed, swaps in hits.draws.items()}
    by_seed = {seed: scores for seed, scores in by_seed.items() if scores}
    n = len(_tested(hits))
    return {
        place: {
            score: over_seeds({seed: s[place][score] for seed, s in by_seed.items() if place in s}, units=n)
            for score in SCORES
        }
        for place in dict.fromkeys(place for scores in by_seed.values() for place in scores)
    }


def _draw_scores(
    hits: ClassHits, swaps: Mapping[str, SwapHits], variant: str, groups: int
) -> dict[str, dict[str, Estimate]]:
    """The scores of one seed."""
    usable = [name for name, swap in swaps.items() if variant in swap.hits and 0 < swap.pairs.n_cause < len(swap.pairs)]
    if not usable:
        return {}
    rows = _rows(hits, [swaps[name] for name in usable], variant)
    n = len(rows["cause pairs"])
    shares = {f"{place}/{score}": n for place in (*range(len(usable)), _ALL) for score in SCORES}
    estimates = jackknife(rows, _statistic, groups=dealt(n, groups), shares=shares)

    def scores_of(place: int | str) -> dict[str, Estimate]:
        scores = {score: estimates[f"{place}/{score}"] for score in SCORES}
        whole = scores[_MEAN]
        if whole.replicates and np.ptp(whole.replicates) == 0:
            # As of doing nothing: isolation 1 and cause 0 for every entity. Its mean is as certain as these are.
            parts = average([estimate for score, estimate in scores.items() if score != _MEAN])
            scores[_MEAN] = whole._replace(low=parts.low, high=parts.high)
        return scores

    by_attribute = {attribute: scores_of(i) for i, attribute in enumerate(usable)}
    return by_attribute if len(usable) < len(swaps) else {**by_attribute, _ALL: scores_of(_ALL)}


def _rows(hits: ClassHits, swaps: Sequence[SwapHits], variant: str) -> dict[str, np.ndarray]:
    """Right answers and pairs of each kind, by base entity and attribute, of one seed."""
    place = {entity: i for i, entity in enumerate(_tested(hits))}
    rows = {f"{kind} {what}": np.zeros((len(place), len(swaps))) for kind in ("cause", "isolation")
            for what in ("hits", "pairs")}  # fmt: skip
    for column, swap in enumerate(swaps):
        base = np.array([place[hits.prompts.items[i].entity] for i in swap.pairs.base.tolist()])
        is_cause = swap.pairs.is_cause.numpy()
        for kind, chosen in (("cause", is_cause), ("isolation", ~is_cause)):
            np.add.at(rows[f"{kind} pairs"][:, column], base[chosen], 1)
            np.add.at(rows[f"{kind} hits"][:, column], base[chosen], swap.hits[variant][chosen])
    return rows


def _tested(hits: ClassHits) -> list[str]:
    """The entities of base prompts of any seed's test pairs, in the order of the prompts."""
    bases = sorted({base for _, swaps in hits.swaps() for swap in swaps for base in swap.pairs.base.tolist()})
    return list(dict.fromkeys(hits.prompts.items[base].entity for base in bases))


def _statistic(sums: Sums) -> Sums:
    cause = sums["cause hits"] / sums["cause pairs"]
    isolation = sums["isolation hits"] / sums["isolation pairs"]
    scores = {"cause_score": cause, "isolation_score": isolation, "disentanglement_score": (cause + isolation) / 2}
    values = {f"{_ALL}/{name}": score.mean(axis=-1) for name, score in scores.items()}
    for i in range(cause.shape[-1]):
        values |= {f"{i}/{name}": score[..., i] for name, score in scores.items()}
    return values


def _latents_swapped(classes: Mapping[str, ClassHits]) -> Iterator[Measurement]:
    """Means over seeds."""
    counts = {
        (name, attribute): fmean([swap.n_swapped for swap in swaps if swap.n_swapped is not None])
        for name, hits in classes.items()
        for attribute, swaps in hits.swaps()
        if any(swap.n_swapped is not None for swap in swaps)
    }
    yield Measurement("n_latents_swapped", sum(counts.values()) / len(counts))
    for (name, attribute), count in counts.items():
        yield Measurement("n_latents_swapped", float(count), at={"entity": name, "attribute": attribute})


def _sizes(classes: Mapping[str, ClassHits]) -> Iterator[Measurement]:
    """What stands behind the numbers: over all, by class of entities, by attribute; pairs are those of one seed."""
    by_place: list[tuple[At, dict[str, float]]] = []
    n_entities = 0
    for name, hits in classes.items():
        n_tested = len(_tested(hits))
        yield Measurement("n_test_entities", float(n_tested), at={"entity": name})
        n_entities += n_tested
        for attribute, swaps in hits.swaps():
            sizes = {
                "n_cause_pairs": fmean([swap.pairs.n_cause for swap in swaps]),
                "n_isolation_pairs": fmean([len(swap.pairs) - swap.pairs.n_cause for swap in swaps]),
                "n_training_steps": fmean([swap.n_steps for swap in swaps]),
            }
            by_place.append(({"entity": name, "attribute": attribute}, sizes))
    yield Measurement("n_test_entities", float(n_entities))
    for metric in ("n_cause_pairs", "n_isolation_pairs", "n_training_steps"):
        counts = [sizes[metric] for _, sizes in by_place]
        yield Measurement(metric, sum(counts) / (len(counts) if metric == "n_training_steps" else 1))
        for at, sizes in by_place:
            yield Measurement(metric, float(sizes[metric]), at=at)


def _prompts_kept(classes: Mapping[str, ClassHits]) -> Iterator[Measurement]:
    for name, hits in classes.items():
        at: At = {"entity": name}
        if hits.n_asked:
            yield Measurement("prompts_kept", len(hits.prompts.items) / hits.n_asked, at=at)
        else:
            yield Measurement("prompts_kept", None, reason=f"the data set has no prompts on {name}", at=at)


def _as_sae_bench(classes: Mapping[str, ClassHits]) -> dict[str, dict[str, dict[str, float]]]:
    """SAEBench's nested record: class of entities, attribute, score."""
    names = {"cause_score": "cause_score", "isolation_score": "isolation_score",
             "disentanglement_score": "disentangle_score"}  # fmt: skip
    return {
        f"{name}_results": {
            f"{name}_{attribute}": {key: scores[score].mean.value for score, key in names.items()}
            for attribute, scores in class_scores(hits, "").items()
            if attribute != _ALL
        }
        for name, hits in classes.items()
    }
