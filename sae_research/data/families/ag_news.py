"""Texts with one integer label: fancyzhx/ag_news, and the embedded world's news and languages."""

from __future__ import annotations

from sae_research.data.family import Columns, Family, Pool, class_codes, read_splits
from sae_research.sources.hub import Hub

_REPOSITORY = "fancyzhx/ag_news"
_TOPICS = {"World": "0", "Sports": "1", "Business": "2", "Sci/Tech": "3"}


class AgNews(Family):
    """Classes by label; nothing is balanced."""

    names = (_REPOSITORY, "embedded/news", "embedded/languages")

    @classmethod
    def repository(cls, name: str) -> str:
        return name

    @classmethod
    def read(cls, hub: Hub, name: str, *, n_texts: int) -> Pool:
        codes = _TOPICS if name == _REPOSITORY else class_codes(hub, name, "label")
        return read_splits(hub, name, Columns("text", "label"), codes)
