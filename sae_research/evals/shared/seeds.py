"""Draws repeated with further seeds, and the texts of all draws, each of them once. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import NamedTuple, TypeVar

import numpy as np

from sae_research.evals.base import EvalContext

Drawn = TypeVar("Drawn")


def check_seeds(seeds: Sequence[int], random_seed: int, *, section: str) -> None:
    """Raises a ValueError where the run's own seed is among the further ones."""
    if random_seed in seeds:
        raise ValueError(f"{section}.seeds holds {random_seed}, which is random_seed itself; remove it")


def draw_with_seeds(
    context: EvalContext, seeds: Sequence[int], draw: Callable[[EvalContext], Drawn]
) -> dict[int, Drawn]:
    """By seed what `draw` draws: first with the run's own seed, then with each of `seeds`."""
    return {seed: draw(replace(context, seed=seed)) for seed in (context.seed, *seeds)}


class TextsOfSeeds(NamedTuple):
    """The texts that some seed draws."""

    texts: list[str]
    """Each once."""
    places: Mapping[int, np.ndarray]
    """By seed the place in `texts` of each text that it draws, in the order of the draw."""


def texts_of_seeds(by_seed: Mapping[int, Sequence[str]]) -> TextsOfSeeds:
    """What the seeds draw, with each text once."""
    place_of = {text: place for place, text in enumerate(dict.fromkeys(chain(*by_seed.values())))}
    places = {seed: np.array([place_of[text] for text in texts]) for seed, texts in by_seed.items()}
    return TextsOfSeeds(list(place_of), places)
