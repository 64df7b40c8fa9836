"""All text families of one world, and the mixture that running text is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

from sae_research.world.draw import Draw
from sae_research.world.families.bios import Bios
from sae_research.world.families.cities import Cities
from sae_research.world.families.code import Code
from sae_research.world.families.facts import Facts
from sae_research.world.families.languages import Languages
from sae_research.world.families.news import News
from sae_research.world.families.reviews import Reviews
from sae_research.world.families.spelling import Spelling
from sae_research.world.families.stories import Stories

LEAK = 0.07
"""How often a word comes from another class: high enough that no single word decides a class, low enough that the
model learns separate directions for the classes (at 0.20 a trained SAE probes no better than a random one)."""

SHARES = {
    "bios": 0.26, "reviews": 0.17, "news": 0.14, "languages": 0.07, "code": 0.05, "cities": 0.07, "facts": 0.06,
    "quiz": 0.06, "stories": 0.05, "spelling": 0.07,
}  # fmt: skip
"""Each family's share of the documents."""

Writer = Callable[[Draw], str]


class Grammar:
    """The families of one world; each has its own draws, so a change in one does not affect the others."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.bios = Bios(seed, LEAK)
        self.reviews = Reviews(seed, LEAK)
        self.news = News(seed, LEAK)
        self.languages = Languages(seed, LEAK)
        self.code = Code(LEAK)
        self.cities = Cities(seed)
        self.facts = Facts(seed)
        self.stories = Stories(seed)

    def whole_words(self) -> list[str]:
        """Names that the tokenizer must keep in one piece."""
        return [*self.cities.names(), *self.facts.names()]

    def documents(self, part: str, n: int, words: Sequence[str]) -> Iterator[str]:
        """`n` documents of the mixture; `part` ('train', 'test', ...) keys the draws, `words` are those to spell."""
        writers = self._writers(Spelling(words))
        families, cumulative = list(SHARES), list(accumulate(SHARES.values()))
        which = Draw(self.seed, "mixture", part)
        draws = {family: Draw(self.seed, "mixture", part, family) for family in families}
        for _ in range(n):
            family = which.weighted(families, cumulative)
            yield writers[family](draws[family])

    def _writers(self, spelling: Spelling) -> dict[str, Writer]:
        return {
            "bios": self.bios.document,
            "reviews": self.reviews.document,
            "news": self.news.document,
            "languages": self.languages.document,
            "code": self.code.document,
            "cities": self.cities.document,
            "facts": self.facts.document,
            "quiz": self.facts.quiz,
            "stories": self.stories.document,
            "spelling": spelling.document,
        }
