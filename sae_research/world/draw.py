"""Seeded draws that are the same everywhere."""

from __future__ import annotations

import random
from bisect import bisect
from collections.abc import Sequence
from itertools import accumulate
from typing import TypeVar

Item = TypeVar("Item")


class Draw:
    """A stream of draws, named by its keys.

    Uses only `Random.random()`, the one method whose sequence for a given seed Python promises never to change.
    """

    def __init__(self, *keys: object) -> None:
        self._unit = random.Random("/".join(map(str, keys))).random

    def below(self, n: int) -> int:
        """A whole number from 0 to n - 1."""
        return int(self._unit() * n)

    def between(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return low + self.below(high - low + 1)

    def happens(self, probability: float) -> bool:
        """True with that probability."""
        return self._unit() < probability

    def choice(self, items: Sequence[Item]) -> Item:
        """One of `items`."""
        return items[self.below(len(items))]

    def sample(self, items: Sequence[Item], n: int) -> list[Item]:
        """`n` different ones of `items`, in random order."""
        pool = list(items)
        for i in range(n):
            j = i + self.below(len(pool) - i)
            pool[i], pool[j] = pool[j], pool[i]
        return pool[:n]

    def shuffled(self, items: Sequence[Item]) -> list[Item]:
        """All of `items` in random order."""
        return self.sample(items, len(items))

    def weighted(self, items: Sequence[Item], cumulative: Sequence[float]) -> Item:
        """One of `items`, by weights whose running sums are `cumulative`."""
        return items[bisect(cumulative, self._unit() * cumulative[-1])]

    def other_than(self, items: Sequence[Item], excluded: Item) -> Item:
        """One of `items` that is not `excluded`."""
        return self.choice([item for item in items if item != excluded])


def zipf(n: int, offset: float = 2.0) -> list[float]:
    """Running sums of Zipf weights 1 / (rank + offset)."""
    return list(accumulate(1.0 / (rank + offset) for rank in range(n)))
