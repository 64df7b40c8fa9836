"""Pronounceable words that exist in no language: names for the world's people, places and things."""

from __future__ import annotations

import string

from sae_research.world.draw import Draw

ONSETS = (*"bcdfghjklmnprstvwyz", "br", "cl", "dr", "fl", "gr", "pl", "st", "tr")
VOWELS = tuple("aeiou")
CODAS = (*"klmnrst", "nd", "rk", "st")
_VOWEL_LETTERS = frozenset("aeiou")


def pseudo_words(
    draw: Draw, n: int, *, syllables: int = 2, ending: str | None = None, initials: str = string.ascii_lowercase
) -> list[str]:
    """`n` different words; their first letters cycle through `initials`, so every letter gets its share.

    Each word consists of CV syllables and `ending` (default: a random consonant).
    """
    words: dict[str, None] = {}
    while len(words) < n:
        initial = initials[len(words) % len(initials)]
        words.setdefault(_word(draw, initial, syllables, ending))
    return list(words)


def capitalized(words: list[str]) -> list[str]:
    """The words as names."""
    return [word.capitalize() for word in words]


def _word(draw: Draw, initial: str, syllables: int, ending: str | None) -> str:
    start = initial if initial in _VOWEL_LETTERS else initial + draw.choice(VOWELS)
    middle = "".join(draw.choice(ONSETS) + draw.choice(VOWELS) for _ in range(syllables - 1))
    return start + middle + (draw.choice(CODAS) if ending is None else ending)
