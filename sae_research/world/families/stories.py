"""Narrative filler: common words, and a long Zipf tail of rare nouns."""

from __future__ import annotations

from sae_research.world.draw import Draw, zipf
from sae_research.world.names import capitalized, pseudo_words

_COMMON = (
    "road, river, door, window, tree, lamp, table, letter, stone, bridge, garden, horse, coat, boat, fire, hill,"
    " song, basket, mirror, candle, field, wall, key, storm"
)
_ADJECTIVES = "old, small, quiet, dark, warm, broken, long, silver, empty, narrow, heavy, bright, wet, strange"
_VERBS = "found, carried, lost, painted, followed, sold, hid, watched, repaired, remembered, buried, opened"
_PLACES = "by the river, in the attic, near the mill, under the bridge, behind the house, at the market"
_SENTENCES = (
    "{name} {verb} the {adjective} {noun} {place}.",
    "In the morning the {noun} lay {place}.",
    "There was a {adjective} {noun} and a {noun2}, and nobody asked why.",
    "{name} told {name2} about the {noun}.",
    "When night fell, {name} {verb} a {noun} and went home.",
    "The {noun} was {adjective}, but the {noun2} was {adjective2}.",
    "Years later {name2} still dreamed of the {noun}.",
)
# Letters that English and the other families seldom begin with get more nouns, so that every letter has enough tokens
# for the first-letter task.
_RARE = "jkquvxyz"
_N_PER_LETTER, _N_PER_RARE_LETTER = 22, 46
_P_TAIL = 0.15


class Stories:
    """The narrative of one world."""

    name = "stories"

    def __init__(self, seed: int) -> None:
        draw = Draw(seed, self.name, "words")
        everyday = pseudo_words(draw, 26 * _N_PER_LETTER)
        rare = pseudo_words(draw, len(_RARE) * (_N_PER_RARE_LETTER - _N_PER_LETTER), ending="l", initials=_RARE)
        self.rare = rare
        self.tail = draw.shuffled(list(dict.fromkeys([*everyday, *rare])))
        self.names = capitalized(pseudo_words(draw, 52, ending="o"))
        self._zipf = zipf(len(self.tail), offset=20.0)
        self._words = {
            name: text.split(", ")
            for name, text in (("noun", _COMMON), ("adjective", _ADJECTIVES), ("verb", _VERBS), ("place", _PLACES))
        }

    def document(self, draw: Draw) -> str:
        """Three to five sentences."""
        chosen = draw.sample(_SENTENCES, draw.between(3, 5))
        return " ".join(self._filled(draw, sentence) for sentence in chosen)

    def _filled(self, draw: Draw, sentence: str) -> str:
        words = self._words
        return sentence.format(
            name=draw.choice(self.names), name2=draw.choice(self.names), verb=draw.choice(words["verb"]),
            adjective=draw.choice(words["adjective"]), adjective2=draw.choice(words["adjective"]),
            noun=self._noun(draw), noun2=self._noun(draw), place=draw.choice(words["place"]),
        )  # fmt: skip

    def _noun(self, draw: Draw) -> str:
        if draw.happens(_P_TAIL):
            return draw.weighted(self.tail, self._zipf)
        return draw.choice(self._words["noun"])
