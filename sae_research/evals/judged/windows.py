"""Windows of text around a latent's activations, and windows in which it is silent; no two share a token."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from sae_research.evals.judged.counts import Counts
from sae_research.evals.windows.corpus import Corpus
from sae_research.evals.windows.firings import Firings
from sae_research.evals.windows.taken import Taken, Window
from sae_research.probes.draws import keyed_generator

_MOST_DRAWS = 1000
"""Of places for silent windows: a latent that is silent nowhere in so many is dense."""


class Windows(NamedTuple):
    """The windows of one latent."""

    explain: tuple[Window, ...]
    """By falling activation at their centres."""
    top: tuple[Window, ...]
    """To score, of the strongest activations."""
    weighted: tuple[Window, ...]
    """To score, drawn by the square of the activation from the weaker ones."""
    silent: tuple[Window, ...]


class NoWindows(Exception):
    """Why a latent has too few windows."""


def choose_windows(
    corpus: Corpus, firings: Firings, *, latent: int, seed: int, counts: Counts, silent_must_be: bool = True
) -> Windows:
    """The windows of a latent; NoWindows where it fires too rarely or too often.

    Top: by falling activation. Weighted: among activations below the smallest of these, without replacement with
    probability in proportion to their squares. With `silent_must_be` false, silent windows are any windows, as SAEBench
    has them.
    """
    taken = Taken(corpus)
    order = np.lexsort((firings.positions, firings.rows, -firings.activations))
    top = taken.first(_places(firings, order), counts.top_explain + counts.top_score)
    if len(top) < counts.top_explain + counts.top_score:
        raise NoWindows(f"{len(top)} separate windows with activations, needed {counts.top_explain + counts.top_score}")
    least = min(activation for activation, _ in top)
    weaker = np.flatnonzero(firings.activations < least)
    keys = 2 * np.log(firings.activations[weaker]) + _gumbel(firings, weaker, latent=latent, seed=seed)
    weighted = taken.first(
        _places(firings, weaker[np.argsort(-keys, kind="stable")]), counts.weighted_explain + counts.weighted_score
    )
    if len(weighted) < counts.weighted_explain + counts.weighted_score:
        raise NoWindows(
            f"{len(weighted)} separate windows with weaker activations, needed "
            f"{counts.weighted_explain + counts.weighted_score}"
        )
    silent = _silent(taken, firings, latent=latent, seed=seed, n=counts.silent, must_be=silent_must_be)
    rng = keyed_generator("judged", seed, "split", latent)
    top_order, weighted_order = rng.permutation(len(top)), rng.permutation(len(weighted))
    explain = [top[i] for i in top_order[: counts.top_explain]]
    explain += [weighted[i] for i in weighted_order[: counts.weighted_explain]]
    return Windows(
        tuple(window for _, window in sorted(explain, key=lambda entry: -entry[0])),
        tuple(top[i][1] for i in top_order[counts.top_explain :]),
        tuple(weighted[i][1] for i in weighted_order[counts.weighted_explain :]),
        silent,
    )


def _places(firings: Firings, order: np.ndarray) -> Iterator[tuple[float, int, int]]:
    for i in order:
        yield float(firings.activations[i]), int(firings.rows[i]), int(firings.positions[i])


def _gumbel(firings: Firings, some: np.ndarray, *, latent: int, seed: int) -> np.ndarray:
    """Gumbel noise that depends on seed, latent and place alone, whatever else is drawn."""
    places = firings.rows[some].astype(np.uint64) << np.uint64(32) | firings.positions[some].astype(np.uint64)
    key = keyed_generator("judged", seed, "weighted", latent).integers(2**63, dtype=np.int64)
    uniform = (_mixed(places ^ np.uint64(key)) >> np.uint64(11)).astype(np.float64) / 2.0**53
    return -np.log(-np.log(np.clip(uniform, 1e-300, 1 - 2.0**-53)))


def _mixed(words: np.ndarray) -> np.ndarray:
    """Splitmix64's last steps: each bit of a word changes half of the bits of the result."""
    with np.errstate(over="ignore"):
        words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def _silent(taken: Taken, firings: Firings, *, latent: int, seed: int, n: int, must_be: bool) -> tuple[Window, ...]:
    active: dict[int, list[int]] = {}
    for row, position in zip(firings.rows.tolist(), firings.positions.tolist(), strict=True):
        active.setdefault(row, []).append(position)
    rng = keyed_generator("judged", seed, "silent", latent)
    n_rows, length = taken.corpus.tokens.shape
    windows: list[Window] = []
    for row, position in rng.integers([n_rows, length], size=(_MOST_DRAWS, 2)).tolist():
        if len(windows) == n:
            break
        stretch = taken.corpus.window(row, position)
        fires = stretch is not None and any(stretch[0] <= p < stretch[1] for p in active.get(row, ()))
        if stretch is None or (fires and must_be):
            continue
        window = taken.add(row, position)
        if window is not None:
            windows.append(window)
    if len(windows) < n:
        raise NoWindows(f"{len(windows)} separate windows without activation in {_MOST_DRAWS} draws, needed {n}")
    return tuple(windows)
