"""Facts about cities: country, continent and language, drawn independently of each other as RAVEL needs.

Every template names the city before its end and stops where the answer, one token, begins.
"""

from __future__ import annotations

from dataclasses import dataclass

from sae_research.world.draw import Draw
from sae_research.world.names import capitalized, pseudo_words

ATTRIBUTES = ("Country", "Continent", "Language")
N_CITIES = 96

TEMPLATES: dict[str, tuple[str, ...]] = {
    "Country": (
        "The city of %s is in the country of",
        "Travellers to %s need a visa for",
        "The city of %s belongs to the state of",
        "A letter to %s is sent to",
        "People from %s hold passports of",
    ),
    "Continent": (
        "The city of %s is on the continent of",
        "The map shows %s on the landmass of",
        "Birds leave %s to cross the whole of",
        "The city of %s is one of the oldest in",
        "By ship %s is reached along the coast of",
    ),
    "Language": (
        "People in %s speak",
        "The schools of %s teach in",
        "Street signs in %s are written in",
        "The city of %s has its papers printed in",
        "A guide in %s must know",
    ),
}


@dataclass(frozen=True)
class City:
    """One city and its attributes."""

    name: str
    facts: dict[str, str]


class Cities:
    """The cities of one world."""

    name = "cities"

    def __init__(self, seed: int) -> None:
        draw = Draw(seed, self.name, "atlas")
        self.values = {
            "Country": capitalized(pseudo_words(draw, 12, syllables=1, ending="lvia", initials="bcdfgjkmprtv")),
            "Continent": capitalized(pseudo_words(draw, 6, syllables=1, ending="ntis", initials="abdgmp")),
            "Language": capitalized(pseudo_words(draw, 10, syllables=1, ending="rish", initials="cdfghklmst")),
        }
        names = capitalized(pseudo_words(draw, N_CITIES, syllables=2, ending="burg"))
        self.cities = [City(name, {a: draw.choice(self.values[a]) for a in ATTRIBUTES}) for name in names]

    def names(self) -> list[str]:
        """Every name that must be one token (after a space)."""
        return [city.name for city in self.cities] + [value for values in self.values.values() for value in values]

    def document(self, draw: Draw) -> str:
        """Four or five facts about different cities: an answer can only be recalled, not copied."""
        sentences = []
        for city in draw.sample(self.cities, draw.between(4, 5)):
            attribute = draw.choice(ATTRIBUTES)
            sentences.append(f"{draw.choice(TEMPLATES[attribute]) % city.name} {city.facts[attribute]}.")
        return " ".join(sentences)
