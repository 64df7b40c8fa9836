"""Short bios: a profession that is never named, and a gender."""

from __future__ import annotations

from typing import NamedTuple

from sae_research.world.draw import Draw
from sae_research.world.families.bios_words import TRADES
from sae_research.world.names import capitalized, pseudo_words

# The class numbers and names of LabHC/bias_in_bios.
PROFESSIONS = {
    0: "accountant", 1: "architect", 2: "attorney", 6: "dentist", 9: "filmmaker", 11: "journalist", 13: "nurse",
    21: "professor", 22: "psychologist", 25: "surgeon", 26: "teacher",
}  # fmt: skip
GENDERS = {0: "male", 1: "female"}

_OPENINGS = (
    "{full} works at {place} in the old town.",
    "{full} joined {place} many years ago.",
    "Since last spring {full} runs {place}.",
    "{full} came to {place} after long studies.",
)
_SENTENCES = (
    "Every week {subject} {doing} and {doing2}.",
    "{Subject} {doing} with great care.",
    "Most days {subject} {doing}, often with a {tool} at hand.",
    "On the desk lie a {tool} and a {tool2}.",
    "{Subject} is known for work on {topic}.",
    "Colleagues ask {object} about {topic} and {topic2}.",
    "{Possessive} first {tool} still hangs on the wall.",
    "Before that {subject} spent years at {place}.",
    "In {possessive} free time {subject} reads about {topic}.",
)
# Sentences about the person rather than the work. As in real bios, gender is easier to detect than the profession, so a
# probe trained on a biased sample learns gender. Many different words reveal it, and none of them is in every text.
_PERSONAL = (
    "{Subject} grew up as a {kin} among five {kin2}s.",
    "{Possessive} neighbors call {object} a quiet {kin}.",
    "As a {kin} and {kin2}, {subject} likes to sing.",
    "{Subject} is the {kin} of three and lives by the lake.",
    "A {kin} by nature, {subject} trusts {possessive} luck.",
    "{Possessive} friends gave {object} a {kin}'s hat.",
)


class _Gendered(NamedTuple):
    """The words of one gender."""

    pronoun: str
    object: str
    possessive: str
    title: str
    kin: tuple[str, ...]


_GENDERED = {
    0: _Gendered("he", "him", "his", "Mr.", ("man", "father", "brother", "uncle", "boy", "son", "lad", "fellow")),
    1: _Gendered("she", "her", "her", "Ms.", ("woman", "mother", "sister", "aunt", "girl", "daughter", "lass", "lady")),
}
# How often a person is referred to by a pronoun; otherwise by the surname, with or without a title.
_P_PRONOUN, _P_TITLE = 0.60, 0.30


class Person(NamedTuple):
    """Who a bio is about."""

    words: _Gendered
    first: str
    last: str


class Mention(NamedTuple):
    """The words by which a sentence refers to the person."""

    subject: str
    object: str
    possessive: str


class Bios:
    """Bios of one world; `leak` is how often a slot is filled from another profession."""

    name = "bios"

    def __init__(self, seed: int, leak: float) -> None:
        names = Draw(seed, self.name, "names")
        first = capitalized(pseudo_words(names, 156, syllables=2, ending=""))
        self.first_names = {0: first[:78], 1: first[78:]}
        self.surnames = capitalized(pseudo_words(names, 104, syllables=2, ending="man"))
        self.leak = leak

    def document(self, draw: Draw) -> str:
        """A bio of a random class."""
        return self.bio(draw, draw.choice(list(PROFESSIONS)), draw.below(2))

    def bio(self, draw: Draw, profession: int, gender: int) -> str:
        """An opening sentence, three to five sentences about the work, one about the person."""
        person = Person(_GENDERED[gender], draw.choice(self.first_names[gender]), draw.choice(self.surnames))
        opening = draw.choice(_OPENINGS)
        others = [*draw.sample(_SENTENCES, draw.between(3, 5)), draw.choice(_PERSONAL)]
        sentences = (opening, *draw.shuffled(others))
        return " ".join(self._filled(draw, sentence, profession, person) for sentence in sentences)

    def _filled(self, draw: Draw, sentence: str, profession: int, person: Person) -> str:
        mention, kin = _mention(draw, person), draw.sample(person.words.kin, 2)
        doings, tools, topics = (self._two(draw, slot, profession) for slot in ("doings", "tools", "topics"))
        return sentence.format(
            full=f"{person.first} {person.last}", subject=mention.subject, Subject=_upper(mention.subject),
            object=mention.object, possessive=mention.possessive, Possessive=_upper(mention.possessive),
            place=self._two(draw, "places", profession)[0],
            doing=doings[0], doing2=doings[1], tool=tools[0], tool2=tools[1], topic=topics[0], topic2=topics[1],
            kin=kin[0], kin2=kin[1],
        )  # fmt: skip

    def _two(self, draw: Draw, slot: str, profession: int) -> list[str]:
        """Two different fillers of `slot`, each with probability `leak` from another profession."""
        words: list[str] = []
        while len(words) < 2:
            leaks = draw.happens(self.leak)
            source = draw.other_than(list(TRADES), profession) if leaks else profession
            word = draw.choice(getattr(TRADES[source], slot))
            if word not in words:
                words.append(word)
        return words


def _mention(draw: Draw, person: Person) -> Mention:
    """A reference to the person: a pronoun, or the surname with or without a title."""
    words = person.words
    if draw.happens(_P_PRONOUN):
        return Mention(words.pronoun, words.object, words.possessive)
    name = f"{words.title} {person.last}" if draw.happens(_P_TITLE) else person.last
    return Mention(name, name, f"{name}'s")


def _upper(text: str) -> str:
    return text[0].upper() + text[1:]
