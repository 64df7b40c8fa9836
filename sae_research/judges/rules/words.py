"""Texts as words in their places."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

_WORD = re.compile(r"[^\W\d_]+|\d+|\n|[^\s]")


class Words(NamedTuple):
    """The words of a text: runs of letters, runs of digits, line breaks, other single signs."""

    words: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]
    """Where each stands in the text."""


class MarkedWords(NamedTuple):
    """The words of a text of which some are marked."""

    words: tuple[str, ...]
    marked: frozenset[int]
    """The places of words that are marked, in whole or in part."""
    marked_parts: tuple[tuple[int, str], ...]
    """What is marked inside a word that is not marked as a whole."""


def words_of(text: str) -> Words:
    """The words of `text`."""
    matches = list(_WORD.finditer(text))
    return Words(tuple(match[0] for match in matches), tuple(match.span() for match in matches))


def marked_words(text: str, markers: tuple[str, str]) -> MarkedWords:
    """The words of `text` without its markers, and what these mark."""
    bare, stretches = _without(text, markers)
    words, spans = words_of(bare)
    marked: set[int] = set()
    parts: list[tuple[int, str]] = []
    for start, end in stretches:
        for place, (first, last) in enumerate(spans):
            inside = bare[max(first, start) : min(last, end)]
            if inside:
                marked.add(place)
                if inside != words[place]:
                    parts.append((place, inside))
    return MarkedWords(words, frozenset(marked), tuple(parts))


def _without(text: str, markers: tuple[str, str]) -> tuple[str, Sequence[tuple[int, int]]]:
    """`text` without markers, and the stretches of it that stood between a pair."""
    bare, stretches, opened = "", [], None
    for piece in re.split(f"({re.escape(markers[0])}|{re.escape(markers[1])})", text):
        if piece == markers[0]:
            opened = len(bare)
        elif piece == markers[1]:
            if opened is not None:
                stretches.append((opened, len(bare)))
            opened = None
        else:
            bare += piece
    return bare, stretches
