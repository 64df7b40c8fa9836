"""Texts in five invented languages, each with its own sounds, endings and function words."""

from __future__ import annotations

from itertools import accumulate
from typing import NamedTuple

from sae_research.world.draw import Draw, zipf

LANGUAGES = {0: "Anvari", 1: "Beltish", 2: "Cordic", 3: "Dunmer", 4: "Elosi"}

# Onsets, vowels and word endings. Two languages share each ending, so that no ending gives the language away.
_SOUNDS = {
    0: ("v r n s l t", "a i e", "ri an va el"),
    1: ("b l t s k d", "e i o", "an ish et va"),
    2: ("c r d g m t", "o i u", "et or um ish"),
    3: ("d m n g b z", "u o a", "um er mo or"),
    4: ("l s f p m v", "e o a", "mo el ri er"),
}
_N_FUNCTION_WORDS, _N_WORDS = 15, 100


class _Language(NamedTuple):
    function_words: list[str]
    words: list[str]


class Languages:
    """Five languages; `leak` is how often a word is borrowed from another one."""

    name = "languages"

    def __init__(self, seed: int, leak: float) -> None:
        self.leak = leak
        self.lexicon = {label: _language(Draw(seed, self.name, label), label) for label in LANGUAGES}
        self._zipf = zipf(_N_WORDS, offset=10.0)
        self._even = list(accumulate([1.0] * _N_FUNCTION_WORDS))

    def document(self, draw: Draw) -> str:
        """A text in a random language."""
        return self.text(draw, draw.choice(list(LANGUAGES)))

    def text(self, draw: Draw, label: int) -> str:
        """Three to five sentences."""
        return " ".join(self._sentence(draw, label) for _ in range(draw.between(3, 5)))

    def _sentence(self, draw: Draw, label: int) -> str:
        words = [self._word(draw, label) for _ in range(draw.between(5, 8))]
        return " ".join([words[0].capitalize(), *words[1:]]) + "."

    def _word(self, draw: Draw, label: int) -> str:
        source = draw.other_than(list(LANGUAGES), label) if draw.happens(self.leak) else label
        language = self.lexicon[source]
        if draw.happens(0.4):
            return draw.weighted(language.function_words, self._even)
        return draw.weighted(language.words, self._zipf)


def _language(draw: Draw, label: int) -> _Language:
    onsets, vowels, endings = (part.split() for part in _SOUNDS[label])
    short: dict[str, None] = {}
    while len(short) < _N_FUNCTION_WORDS:
        short.setdefault(draw.choice(onsets) + draw.choice(vowels) + (draw.choice(onsets) if draw.happens(0.5) else ""))
    long: dict[str, None] = {}
    while len(long) < _N_WORDS:
        stem = "".join(draw.choice(onsets) + draw.choice(vowels) for _ in range(draw.between(1, 2)))
        long.setdefault(stem + draw.choice(endings))
    return _Language(list(short), list(long))
