"""Text that a judge has read: how often a property holds in it, and where."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from sae_research.judges.rules.properties import Property
from sae_research.judges.rules.words import words_of

_END = -1
"""Between two documents: the neighbour of no word."""


class Reading:
    """Documents as one sequence of words."""

    def __init__(self, documents: Sequence[str]) -> None:
        self._documents = documents
        numbers: dict[str, int] = {}
        ids: list[int] = [_END]
        sources: list[tuple[int, int, int]] = [(0, 0, 0)]
        for number, document in enumerate(documents):
            words, spans = words_of(document)
            ids += [numbers.setdefault(word, len(numbers)) for word in words]
            sources += [(number, *span) for span in spans]
            ids.append(_END)
            sources.append((number, 0, 0))
        self._ids, self._sources = np.array(ids), sources
        self._numbers, self._vocabulary = numbers, list(numbers)
        self._places: dict[Property, np.ndarray] = {}

    @cached_property
    def n_words(self) -> int:
        """All words of all documents."""
        return int((self._ids != _END).sum())

    def frequency(self, rule: Property) -> float:
        """The share of words of which `rule` holds."""
        return len(self.places(rule)) / max(1, self.n_words)

    def places(self, rule: Property) -> np.ndarray:
        """The places of the words of which `rule` holds."""
        if rule not in self._places:
            self._places[rule] = np.flatnonzero(self._holds(rule) & (self._ids != _END))
        return self._places[rule]

    def anywhere(self) -> np.ndarray:
        """The places of all words."""
        return np.flatnonzero(self._ids != _END)

    def around(self, place: int, *, before: int, after: int) -> str:
        """The document's text around the word at `place`, by numbers of words."""
        first = last = place
        while first > place - before and self._ids[first - 1] != _END:
            first -= 1
        while last < place + after and self._ids[last + 1] != _END:
            last += 1
        document, start, _ = self._sources[first]
        return self._documents[document][start : self._sources[last][2]]

    def _holds(self, rule: Property) -> np.ndarray:
        match rule.kind:
            case "is":
                return self._is(rule.names[0])
            case "after":
                return self._is(rule.names[0]) & np.roll(self._is(rule.names[1]), 1)
            case "follows":
                return np.roll(self._is(rule.names[0]), 1)
            case "precedes":
                return np.roll(self._is(rule.names[0]), -1)
            case _:
                words = np.array([rule.holds_of_word(word) for word in self._vocabulary], dtype=bool)
                # The place of _END, -1, is the last: no word has that number.
                return np.append(words, False)[self._ids]

    def _is(self, word: str) -> np.ndarray:
        return self._ids == self._numbers.get(word, _END - 1)
