"""The texts that a judge wrote for a latent: which of them count."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

N_ASKED = 11
"""Texts that the judge is asked for."""
N_TEXTS = 10
"""Of those that are no copies so many count, the first."""
_RUN = 5
"""Words in a row by which copies are found."""
_COPIED_FROM = 0.9
"""A text that holds this share of an example's runs is a copy."""
_WORD = re.compile(r"\w+|[^\w\s]")

Runs = frozenset[tuple[str, ...]]


class Written(NamedTuple):
    """What came of one answer."""

    texts: tuple[str, ...]
    """Those that count, without markers."""
    copies: tuple[str, ...]


def read_written(texts: Sequence[str], examples: Sequence[str], markers: tuple[str, str]) -> Written:
    """The texts of an answer without the markers of its prompt, copies of examples set apart."""
    bare = [text.replace(markers[0], "").replace(markers[1], "") for text in texts]
    shown = _Examples(examples)
    copies = [text for text in bare if shown.are_copied_by(text)]
    return Written(tuple(text for text in bare if text not in copies)[:N_TEXTS], tuple(copies))


class _Examples:
    """What copies are compared with."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._words = [_words(text) for text in texts]
        self._runs = [_runs(words) for words in self._words]
        self._all_runs = frozenset[tuple[str, ...]]().union(*self._runs)

    def are_copied_by(self, text: str) -> bool:
        """Whether the text has the words of an example, or nearly all of its runs."""
        words = _words(text)
        if words in self._words:
            return True
        runs = _runs(words) & self._all_runs
        return any(of_example and len(runs & of_example) >= _COPIED_FROM * len(of_example) for of_example in self._runs)


def _words(text: str) -> list[str]:
    return _WORD.findall(text)


def _runs(words: Sequence[str]) -> Runs:
    return frozenset(tuple(words[i : i + _RUN]) for i in range(len(words) - _RUN + 1))
