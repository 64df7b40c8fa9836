"""Draws texts so that a draw depends on its own key alone: not on other draws, their order or a global state."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

Sampling = Literal["keyed", "sae_bench"]
"""How texts are drawn: each draw by a key of its own, or as SAEBench does, from one random stream."""


def draw(texts: Sequence[str], n: int, *key: str | int) -> list[str]:
    """`n` of `texts` without replacement, in random order; of a larger `n`, a smaller one is the beginning.

    Every position gets the digest of `key` and its number, and the lowest digests win: the same on every machine
    and with every version of every library.
    """
    stem = "\0".join(map(str, key)).encode()

    def rank(position: int) -> bytes:
        return hashlib.blake2b(b"%d" % position, key=hashlib.sha256(stem).digest(), digest_size=16).digest()

    return [texts[position] for position in sorted(range(len(texts)), key=rank)[:n]]


def shares(n: int, groups: Sequence[str]) -> dict[str, int]:
    """`n` divided over the groups as evenly as can be, the first of them taking one more."""
    each, left = divmod(n, len(groups))
    return {name: each + (place < left) for place, name in enumerate(groups)}
