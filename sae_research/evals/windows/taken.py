"""Windows of a corpus that share no token and show different texts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from sae_research.evals.windows.corpus import Corpus


class Window(NamedTuple):
    """Positions `start` to `end` (exclusive) of a row."""

    row: int
    start: int
    end: int


@dataclass
class Taken:
    """Windows so far; a further one shares no token with them and has other ids."""

    corpus: Corpus
    by_row: dict[int, list[Window]] = field(default_factory=dict)
    ids: set[tuple[int, ...]] = field(default_factory=set)

    def first(self, places: Iterable[tuple[float, int, int]], n: int) -> list[tuple[float, Window]]:
        """The first `n` windows around `places` that can be added, with their activations."""
        chosen: list[tuple[float, Window]] = []
        for activation, row, position in places:
            if len(chosen) == n:
                break
            window = self.add(row, position)
            if window is not None:
                chosen.append((activation, window))
        return chosen

    def add(self, row: int, position: int) -> Window | None:
        """The window around that place, now taken; None if it cannot be."""
        stretch = self.corpus.window(row, position)
        if stretch is None:
            return None
        window = Window(row, *stretch)
        beside = self.by_row.setdefault(row, [])
        ids = tuple(self.corpus.tokens[row, window.start : window.end].tolist())
        if ids in self.ids or any(window.start < other.end and other.start < window.end for other in beside):
            return None
        beside.append(window)
        self.ids.add(ids)
        return window
