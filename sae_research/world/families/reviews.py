"""Product reviews: a category of goods, and a rating of one or five stars."""

from __future__ import annotations

from sae_research.world.draw import Draw

# The class numbers of canrager/amazon_reviews_mcauley_1and5.
CATEGORIES = {
    1: "Toys_and_Games", 2: "Cell_Phones_and_Accessories", 3: "Industrial_and_Scientific", 5: "Musical_Instruments",
    6: "Electronics",
}  # fmt: skip
RATINGS = (1.0, 5.0)

_NOUNS = {
    1: "puzzle, doll, board game, toy train, kite, building set, stuffed bear, yo-yo, dice set, marble run, puppet,"
    " card deck",
    2: "phone case, screen guard, charging cable, car mount, power bank, earbud, selfie stick, phone grip, sim tray,"
    " stylus, wall charger, ring light",
    3: "lab flask, safety goggles, pipette, steel bolt, hose clamp, caliper, test tube, pressure gauge, work gloves,"
    " filter paper, welding rod, magnet",
    5: "guitar, violin bow, drum pad, flute, piano stool, tuner, harmonica, banjo, trumpet mute, reed, amplifier,"
    " guitar pick",
    6: "monitor, keyboard, router, hard drive, webcam, tablet, speaker, printer, headset, memory card, projector lamp,"
    " game console",
}
_PRAISE = (
    "great, lovely, solid, perfect, wonderful, sturdy, superb, charming, reliable, excellent, smooth, pleasant, "
    "clever, splendid, neat, brilliant, handy, flawless, delightful, crisp"
)
_BLAME = (
    "awful, flimsy, broken, useless, terrible, cheap, faulty, ugly, disappointing, poor, noisy, weak, "
    "clumsy, dreadful, sloppy, defective, crooked, worthless, annoying, dull"
)
_BUYERS = ("my brother", "my sister", "our neighbor", "a friend", "my son", "the kids", "my wife", "my husband")
_TIMES = ("last week", "in May", "two months ago", "on sale", "as a gift", "last winter")
# About one word of judgement per sentence.
_SENTENCES = (
    "The {noun} is {judged}.",
    "I bought this {noun} for {buyer} {time}.",
    "It came with a {judged} {noun} in the box.",
    "After a week the {noun} still feels {judged}.",
    "We use the {noun} next to the {noun2} every day.",
    "{Buyer} called it a {judged} {noun}.",
    "Compared with the old {noun} this one looks {judged} and {judged2}.",
    "The package held a {noun} and a {noun2}.",
    "The color is {judged}, the size is as shown.",
    "Overall a {judged} buy.",
)


class Reviews:
    """Reviews of one world; `leak` is how often a noun or a judgement is of another class."""

    name = "reviews"

    def __init__(self, seed: int, leak: float) -> None:
        self.leak = leak
        self.nouns = {category: tuple(nouns.split(", ")) for category, nouns in _NOUNS.items()}
        self.judgements = {5.0: tuple(_PRAISE.split(", ")), 1.0: tuple(_BLAME.split(", "))}

    def document(self, draw: Draw) -> str:
        """A review of a random class."""
        return self.review(draw, draw.choice(list(CATEGORIES)), draw.choice(RATINGS))

    def review(self, draw: Draw, category: int, rating: float) -> str:
        """Four or five sentences."""
        chosen = draw.sample(_SENTENCES, draw.between(4, 5))
        return " ".join(self._filled(draw, sentence, category, rating) for sentence in chosen)

    def _filled(self, draw: Draw, sentence: str, category: int, rating: float) -> str:
        buyer = draw.choice(_BUYERS)
        return sentence.format(
            noun=self._noun(draw, category), noun2=self._noun(draw, category), judged=self._judgement(draw, rating),
            judged2=self._judgement(draw, rating), buyer=buyer, Buyer=buyer[0].upper() + buyer[1:],
            time=draw.choice(_TIMES),
        )  # fmt: skip

    def _noun(self, draw: Draw, category: int) -> str:
        leaks = draw.happens(self.leak)
        return draw.choice(self.nouns[draw.other_than(list(CATEGORIES), category) if leaks else category])

    def _judgement(self, draw: Draw, rating: float) -> str:
        leaks = draw.happens(self.leak)
        return draw.choice(self.judgements[draw.other_than(RATINGS, rating) if leaks else rating])
