"""The windows of text in which a latent is shown: around its largest codes, and around some of any size."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np

from sae_research.evals.dashboards.settings import DashboardsSettings
from sae_research.evals.windows.corpus import Corpus
from sae_research.evals.windows.firings import Codes
from sae_research.evals.windows.taken import Taken, Window
from sae_research.probes.draws import keyed_generator

TOP = 0
"""The kind of windows around the largest codes; those drawn from the q-th part of codes have kind q, from 1."""
_MOST_TRIED = 1000
"""Places looked at for the windows of one kind: a latent can fire in the same few words only."""


class Excerpt(NamedTuple):
    """A window, and the place that it was chosen for."""

    kind: int
    window: Window
    position: int


def choose_excerpts(
    corpus: Corpus, codes: Codes, settings: DashboardsSettings, *, latent: int, seed: int
) -> list[Excerpt]:
    """By falling magnitude around the largest codes, then from the weakest part of all codes to the strongest.

    No two share a token or show the same text.
    """
    taken = Taken(corpus)
    magnitudes = np.abs(codes.values)
    rising = np.lexsort((-codes.positions, -codes.rows, magnitudes))
    excerpts = list(_first(taken, codes, rising[::-1], settings.n_top, kind=TOP))
    for part, of_part in enumerate(np.array_split(rising, settings.n_quantiles), start=1):
        rng = keyed_generator("dashboards", seed, "part", latent, part)
        excerpts += _first(taken, codes, rng.permutation(of_part), settings.n_per_quantile, kind=part)
    return excerpts


def _first(taken: Taken, codes: Codes, order: np.ndarray, n: int, *, kind: int) -> Iterator[Excerpt]:
    """The first `n` windows around codes in that order that can be added."""
    places = ((int(codes.rows[i]), int(codes.positions[i])) for i in order[:_MOST_TRIED])
    windows = ((position, taken.add(row, position)) for row, position in places)
    yield from islice((Excerpt(kind, window, at) for at, window in windows if window is not None), n)
