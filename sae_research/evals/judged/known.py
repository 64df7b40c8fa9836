"""Artificial latents for which it is known what a judge should say: on one word, and on nothing in particular."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from sae_research.evals.judged.counts import N_KNOWN, Counts
from sae_research.evals.judged.examples import LatentExamples
from sae_research.evals.judged.windows import NoWindows, choose_windows
from sae_research.evals.windows.corpus import Corpus
from sae_research.evals.windows.firings import Firings
from sae_research.probes.draws import keyed_generator

_MOST_FREQUENT = 2000
"""Tokens among which words are looked for."""
_SHORTEST = 2
_LOOKED_AT = 50
"""Occurrences of a token at which it must be a whole word."""
_NULL_PLACES, _NULL_SHARE = 400, 0.01
"""At so many places, and at no larger share of the text, a latent of no meaning is active."""


class Gold(NamedTuple):
    """A latent that is active exactly on one word."""

    word: str
    examples: LatentExamples


def gold_latents(corpus: Corpus, *, seed: int, counts: Counts) -> list[Gold]:
    """Latents on the most frequent tokens that are a word of letters wherever they stand, in no other spelling."""
    latents: list[Gold] = []
    for token, word in _words(corpus):
        if len(latents) == N_KNOWN:
            break
        rows, positions = np.nonzero((corpus.tokens == token) & corpus.real)
        if not _stands_alone(corpus, rows, positions):
            continue
        found = _latent(corpus, rows, positions, name=("gold", token), seed=seed, counts=counts)
        if found is not None:
            latents.append(Gold(word, found))
    return latents


def null_latents(corpus: Corpus, *, seed: int, counts: Counts) -> list[LatentExamples]:
    """Latents that are active at places drawn from all of the text."""
    places = np.argwhere(corpus.real)
    n = min(_NULL_PLACES, int(_NULL_SHARE * len(places)))
    latents = []
    for number in range(N_KNOWN):
        drawn = places[np.sort(keyed_generator("judged", seed, "null places", number).permutation(len(places))[:n])]
        latents.append(_latent(corpus, *drawn.T, name=("null", number), seed=seed, counts=counts))
    return [latent for latent in latents if latent is not None]


def _latent(
    corpus: Corpus, rows: np.ndarray, positions: np.ndarray, *, name: tuple[str, int], seed: int, counts: Counts
) -> LatentExamples | None:
    """Active at these places, from half of its largest activation on; None where it has too few windows."""
    activations = 0.5 + 0.5 * keyed_generator("judged", seed, *name).random(len(rows))
    firings = Firings(1, rows, positions, activations)
    # No latent of an SAE has a number below 0.
    number = -1 - name[1]
    try:
        windows = choose_windows(corpus, firings, latent=number, seed=seed, counts=counts)
    except NoWindows:
        return None
    return LatentExamples(number, len(rows) / int(corpus.real.sum()), float(activations.max()), firings, windows)


def _words(corpus: Corpus) -> Iterator[tuple[int, str]]:
    """Frequent tokens that are letters, by falling frequency; not those that differ in case or spaces alone."""
    tokens, first, counts = np.unique(corpus.tokens, return_index=True, return_counts=True)
    order = np.lexsort((tokens, -counts))[:_MOST_FREQUENT]
    rows, positions = np.unravel_index(first[order], corpus.tokens.shape)
    words = {
        int(token): corpus.text(int(row), int(position), int(position) + 1).strip()
        for token, row, position in zip(tokens[order], rows, positions, strict=True)
        if corpus.real[row, position]
    }
    spellings = Counter(word.casefold() for word in words.values())
    for token, word in words.items():
        if word.isalpha() and len(word) >= _SHORTEST and spellings[word.casefold()] == 1:
            yield token, word


def _stands_alone(corpus: Corpus, rows: np.ndarray, positions: np.ndarray) -> bool:
    """Whether no letter precedes or follows the token at its first occurrences."""
    length = corpus.tokens.shape[1]
    for row, position in zip(rows[:_LOOKED_AT].tolist(), positions[:_LOOKED_AT].tolist(), strict=True):
        for joint in (position, position + 1):
            if not (0 < joint < length and corpus.real[row, joint - 1] and corpus.real[row, joint]):
                continue
            left, both = corpus.text(row, joint - 1, joint), corpus.text(row, joint - 1, joint + 1)
            if left[-1:].isalpha() and both[len(left) : len(left) + 1].isalpha():
                return False
    return True
