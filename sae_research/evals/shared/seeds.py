"""Draws repeated with further seeds: what they draw, each text once, and what is reported. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from sae_research.evals.base import EvalContext
from sae_research.measurements import Measurement, measured
from sae_research.metrics.draws import Repeated
from sae_research.metrics.intervals import Bounds

Drawn = TypeVar("Drawn")
Key = TypeVar("Key")


def check_seeds(seeds: Sequence[int], random_seed: int, *, section: str) -> None:
    """Raises a ValueError where the run's own seed is among the further ones."""
    if random_seed in seeds:
        raise ValueError(f"{section}.seeds holds {random_seed}, which is random_seed itself; remove it")


def draw_with_seeds(
    context: EvalContext, seeds: Sequence[int], draw: Callable[[EvalContext], Drawn]
) -> dict[int, Drawn]:
    """By seed what `draw` draws: first with the run's own seed, then with each of `seeds`."""
    return {seed: draw(replace(context, seed=seed)) for seed in (context.seed, *seeds)}


class NumberedTexts(NamedTuple, Generic[Key]):
    """The texts of several draws."""

    texts: list[str]
    """Each once, in the order in which the draws bring them."""
    places: Mapping[Key, np.ndarray]
    """By draw the place in `texts` of each of its texts."""


def number_texts(draws: Mapping[Key, Sequence[str]]) -> NumberedTexts[Key]:
    """The texts of all `draws`, each once."""
    place_of = {text: place for place, text in enumerate(dict.fromkeys(chain(*draws.values())))}
    places = {key: np.array([place_of[text] for text in texts], dtype=np.int64) for key, texts in draws.items()}
    return NumberedTexts(list(place_of), places)


def seeded(
    metric: str, number: Repeated, at: Mapping[str, int | float | str], bounds: Bounds = (-math.inf, math.inf)
) -> Iterator[Measurement]:
    """The mean over seeds; where there are several, their spread as `<metric>_seed_std` and each one's own number."""
    yield measured(metric, number.with_draws(bounds), at)
    if len(number.by_seed) > 1:
        yield Measurement(f"{metric}_seed_std", number.spread, at=at)
        for seed, drawn in number.by_seed.items():
            # Its interval would be that of the test units alone; its replicates serve comparisons over seeds.
            yield Measurement(metric, drawn.value, at={**at, "seed": seed}, replicates=drawn.replicates)
