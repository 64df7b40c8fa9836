"""News items on four topics, numbered as in fancyzhx/ag_news."""

from __future__ import annotations

from sae_research.world.draw import Draw
from sae_research.world.names import capitalized, pseudo_words

TOPICS = {0: "World", 1: "Sports", 2: "Business", 3: "Sci/Tech"}

_NOUNS = {
    0: "treaty, border, embassy, ceasefire, refugee camp, parliament, coup, rebel army, summit, minister, election,"
    " peace talks, sanctions, troops, hostage, protest, dictator, village raid, envoy, uprising",
    1: "final, goalkeeper, coach, season, league, penalty, striker, medal, stadium, marathon, referee, transfer,"
    " tournament, injury, captain, sprint, playoff, home run, record, relay team",
    2: "shares, merger, profit, bank, investor, oil price, quarter, retailer, bond, factory, takeover, currency,"
    " market, tariff, startup, loan, inflation, dividend, export, supplier",
    3: "satellite, software, virus, telescope, chip, robot, browser, genome, rocket, network, algorithm, laser,"
    " probe, vaccine trial, server, comet, battery, patch, fossil, quantum device",
}
_DOINGS = ("grows", "stalls", "surprises many", "draws attention", "worries experts", "is delayed", "moves ahead")
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Sunday")
_SENTENCES = (
    "The {noun} {doing}, officials said on {day}.",
    "{place} - A {noun} near {place2} led to talk of a {noun2}.",
    "Reports on the {noun} and the {noun2} came out on {day}.",
    "Nobody in {place} had expected the {noun}.",
    "Analysts compare the {noun} with the {noun2} of last year.",
    "The news about the {noun} {doing}.",
    "On {day} people in {place} spoke of little but the {noun}.",
)


class News:
    """News of one world; `leak` is how often a noun is of another topic."""

    name = "news"

    def __init__(self, seed: int, leak: float) -> None:
        self.leak = leak
        self.nouns = {topic: tuple(nouns.split(", ")) for topic, nouns in _NOUNS.items()}
        self.places = capitalized(pseudo_words(Draw(seed, self.name, "places"), 52, ending="ton"))

    def document(self, draw: Draw) -> str:
        """A news item on a random topic."""
        return self.item(draw, draw.choice(list(TOPICS)))

    def item(self, draw: Draw, topic: int) -> str:
        """Three to five sentences."""
        chosen = draw.sample(_SENTENCES, draw.between(3, 5))
        return " ".join(self._filled(draw, sentence, topic) for sentence in chosen)

    def _filled(self, draw: Draw, sentence: str, topic: int) -> str:
        return sentence.format(
            noun=self._noun(draw, topic), noun2=self._noun(draw, topic), doing=draw.choice(_DOINGS),
            day=draw.choice(_DAYS), place=draw.choice(self.places), place2=draw.choice(self.places),
        )  # fmt: skip

    def _noun(self, draw: Draw, topic: int) -> str:
        leaks = draw.happens(self.leak)
        return draw.choice(self.nouns[draw.other_than(list(TOPICS), topic) if leaks else topic])
