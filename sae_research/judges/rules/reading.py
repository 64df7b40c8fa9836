"""Text that a judge has read: how often a property holds in it, and where."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from sae_research.judges.rules.properties import Property
from sae_research.judges.rules.words import words_of

_END = -1
"""Between two documents: the neighbour of no word."""
_NOWHERE = -2
"""The number of a word that was not read."""
_BETWEEN = "\0"
"""Between two words of the vocabulary."""


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
        self._by_word = np.argsort(self._ids, kind="stable")
        """All places, those of each word together and in order."""
        self._first = np.searchsorted(self._ids[self._by_word], np.arange(len(numbers) + 1))
        """Where those of each word begin in it."""
        self._joined = _BETWEEN.join([*self._vocabulary, ""])
        self._ends = np.cumsum([len(word) + len(_BETWEEN) for word in self._vocabulary])
        """Where the stretch of each word ends in it."""

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
            self._places[rule] = self._find(rule)
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

    def _find(self, rule: Property) -> np.ndarray:
        match rule.kind:
            case "is":
                return self._of_words([rule.names[0]])
            case "after":
                places = self._of_words([rule.names[0]])
                return places[self._ids[places - 1] == self._numbers.get(rule.names[1], _NOWHERE)]
            case "follows":
                return self._words_at(self._of_words([rule.names[0]]) + 1)
            case "precedes":
                return self._words_at(self._of_words([rule.names[0]]) - 1)
            case "ends" | "holds":
                return self._of_words([word for word in self._containing(rule.names[0]) if rule.holds_of_word(word)])
            case _:
                return self._of_words([word for word in self._vocabulary if rule.holds_of_word(word)])

    def _of_words(self, words: Sequence[str]) -> np.ndarray:
        """The places of any of `words`, in order."""
        numbers = [self._numbers[word] for word in words if word in self._numbers]
        places = [self._by_word[self._first[number] : self._first[number + 1]] for number in numbers]
        return np.sort(np.concatenate(places)) if places else self._by_word[:0]

    def _words_at(self, places: np.ndarray) -> np.ndarray:
        """Those of `places` that hold a word."""
        return places[self._ids[places] != _END]

    def _containing(self, part: str) -> list[str]:
        """The words that hold `part`, and perhaps others."""
        hits: list[int] = []
        at = self._joined.find(part)
        while at >= 0:
            hits.append(at)
            at = self._joined.find(part, at + 1)
        return [self._vocabulary[number] for number in np.unique(np.searchsorted(self._ends, hits, side="right"))]
