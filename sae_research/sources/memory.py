"""Data sets in memory, which stand in for those of the hub under a name of the caller's choice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sae_research.digests import digest_of

ByClass = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class GivenTexts:
    """Running text, one document each; every split is all of it."""

    texts: tuple[str, ...]

    @cached_property
    def revision(self) -> str:
        return f"memory:{digest_of(list(self.texts))}"


@dataclass(frozen=True)
class GivenRows:
    """Running text as rows of tokens that start with BOS."""

    rows: Any
    """(row, position), whole numbers; a tensor, whose library this module does without."""

    @cached_property
    def revision(self) -> str:
        return f"memory:{digest_of(self.rows.tolist())}"


@dataclass(frozen=True)
class GivenLabels:
    """Labelled texts by class; where `test` is None its texts are drawn from `train`, apart from the others."""

    train: ByClass
    test: ByClass | None = None

    @cached_property
    def revision(self) -> str:
        splits = [self.train, self.test or {}]
        return f"memory:{digest_of([{name: list(texts) for name, texts in split.items()} for split in splits])}"


Given = GivenTexts | GivenRows | GivenLabels
