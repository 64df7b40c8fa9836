"""Properties of a word in its place: what rules are made of, as phrases of English and back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

Kind = Literal["is", "after", "follows", "precedes", "ends", "holds", "capitalised", "number"]

ENDINGS = range(3, 6)
"""Letters of the endings that are looked at."""
_PHRASES: dict[Kind, str] = {
    "is": "the word {}",
    "after": "the word {} after {}",
    "follows": "what follows {}",
    "precedes": "what precedes {}",
    "ends": "words ending in {}",
    "holds": "words containing {}",
    "capitalised": "capitalised words",
    "number": "numbers",
}
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_READERS: list[tuple[Kind, re.Pattern[str]]] = [
    (kind, re.compile(re.escape(phrase).replace(r"\{\}", f"({_QUOTED})"))) for kind, phrase in _PHRASES.items()
]
_PART = re.compile(rf'(?:{_QUOTED}|[^;"])+')
"""What stands between semicolons outside of quotes."""


class Property(NamedTuple):
    """A kind, and the words or letters that it names."""

    kind: Kind
    names: tuple[str, ...] = ()

    @property
    def phrase(self) -> str:
        """In English; names are quoted, so that any sign may be in them."""
        return _PHRASES[self.kind].format(*(json.dumps(name, ensure_ascii=False) for name in self.names))

    def holds(self, words: Sequence[str], place: int) -> bool:
        """Whether it is true of the word at `place`."""
        word, names = words[place], self.names
        before = words[place - 1] if place > 0 else None
        match self.kind:
            case "is":
                return word == names[0]
            case "after":
                return (word, before) == names
            case "follows":
                return before == names[0]
            case "precedes":
                return place + 1 < len(words) and words[place + 1] == names[0]
            case _:
                return self.holds_of_word(word)

    def holds_of_word(self, word: str) -> bool:
        """The same for kinds that do not depend on the neighbours."""
        match self.kind:
            case "is":
                return word == self.names[0]
            case "ends":
                return len(word) > len(self.names[0]) and word.endswith(self.names[0])
            case "holds":
                return len(word) > len(self.names[0]) and self.names[0] in word
            case "capitalised":
                return word[0].isupper()
            case "number":
                return word.isdigit()
            case _:
                raise ValueError(f"{self.kind} depends on the neighbours of a word")


def properties_at(words: Sequence[str], place: int) -> Iterator[Property]:
    """The properties of the word at `place`, but for those of its parts."""
    word = words[place]
    yield Property("is", (word,))
    if place > 0:
        yield Property("after", (word, words[place - 1]))
        yield Property("follows", (words[place - 1],))
    if place + 1 < len(words):
        yield Property("precedes", (words[place + 1],))
    if word.isalpha():
        for length in ENDINGS:
            if length < len(word):
                yield Property("ends", (word[-length:],))
        if word[0].isupper():
            yield Property("capitalised")
    if word.isdigit():
        yield Property("number")


def read_phrases(explanation: str) -> list[Property]:
    """The properties whose phrases stand in an explanation; none in one that was written by somebody else."""
    properties: list[Property] = []
    for part in _PART.findall(explanation):
        for kind, reader in _READERS:
            match = reader.fullmatch(part.strip())
            if match:
                properties.append(Property(kind, tuple(json.loads(name) for name in match.groups())))
    return properties
