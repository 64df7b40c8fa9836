"""Sentences of the European Parliament in five languages: Helsinki-NLP/europarl."""

from __future__ import annotations

from itertools import islice

from sae_research.data.family import ONE_GROUP, Family, Pool
from sae_research.data.tables import read_files, split_files
from sae_research.sources.hub import Hub

_REPOSITORY = "Helsinki-NLP/europarl"
_PAIRS = {"en": "en-fr", "fr": "fr-it", "de": "de-en", "es": "es-fr", "nl": "nl-pt"}
"""The translation pair that SAEBench takes each language from."""


class Europarl(Family):
    """The first sentences of each language's pair; there is no test split."""

    names = (_REPOSITORY,)

    @classmethod
    def repository(cls, name: str) -> str:
        return name

    @classmethod
    def read(cls, hub: Hub, name: str, *, n_texts: int) -> Pool:
        train: dict[str, dict[str, list[str]]] = {}
        revision = ""
        for language, pair in _PAIRS.items():
            files = split_files(hub, name, "train", config=pair)
            revision = files.revision
            rows = islice(read_files(files, ["translation"]), n_texts + 1)  # SAEBench stops one text late.
            train[language] = {ONE_GROUP: [translation[language] for (translation,) in rows]}
        return Pool(revision, train=train, test=None, codes={language: language for language in _PAIRS})
