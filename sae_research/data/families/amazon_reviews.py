"""Product reviews with category and rating: canrager/amazon_reviews_mcauley_1and5, and the embedded world's."""

from __future__ import annotations

from types import MappingProxyType

from sae_research.data.family import Columns, Crossed, Family, Pool, class_codes, read_splits
from sae_research.sources.hub import Hub

_REPOSITORY = "canrager/amazon_reviews_mcauley_1and5"
_WORLD = "embedded/reviews"
_CATEGORIES = {
    "Toys_and_Games": "1",
    "Cell_Phones_and_Accessories": "2",
    "Industrial_and_Scientific": "3",
    "Musical_Instruments": "5",
    "Electronics": "6",
}
"""SAEBench's choice of five of the 34 categories."""
_RATINGS = {"1 star": "1.0", "5 stars": "5.0"}
_PAIRS = (
    ("Books", "CDs_and_Vinyl"),
    ("Software", "Electronics"),
    ("Pet_Supplies", "Office_Products"),
    ("Industrial_and_Scientific", "Toys_and_Games"),
)
"""SAEBench's pairs of categories."""
_WORLD_PAIRS = (("Industrial_and_Scientific", "Toys_and_Games"), ("Electronics", "Musical_Instruments"))
_PAIRED_CODES = {
    "Toys_and_Games": "1", "Industrial_and_Scientific": "3", "Electronics": "6", "Office_Products": "11",
    "Pet_Supplies": "18", "Books": "24", "CDs_and_Vinyl": "26", "Software": "30",
}  # fmt: skip
_COLUMNS = Columns("text", "category", balanced_by="rating")
_BAD_GOOD = ("1.0", "5.0")


class AmazonReviews(Family):
    """By category, with as many bad as good reviews in each; or by rating, whatever the category (`_sentiment`)."""

    names = tuple(f"{root}{task}" for root in (_REPOSITORY, _WORLD) for task in ("", "_sentiment"))
    crossed = MappingProxyType(
        {
            _REPOSITORY: Crossed(_REPOSITORY, _COLUMNS, _PAIRED_CODES, _BAD_GOOD, _PAIRS),
            _WORLD: Crossed(_WORLD, _COLUMNS, None, _BAD_GOOD, _WORLD_PAIRS),
        }
    )

    @classmethod
    def repository(cls, name: str) -> str:
        return name.removesuffix("_sentiment")

    @classmethod
    def texts(cls, name: str) -> str:
        return cls.repository(name)

    @classmethod
    def read(cls, hub: Hub, name: str, *, n_texts: int) -> Pool:
        repository = cls.repository(name)
        if name.endswith("_sentiment"):
            return read_splits(hub, repository, Columns("text", "rating"), _RATINGS)
        codes = class_codes(hub, repository, "category") if repository == _WORLD else _CATEGORIES
        return read_splits(hub, repository, _COLUMNS, codes)
