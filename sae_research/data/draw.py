"""Draws texts by key: a draw does not depend on other draws, their order or any global state."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

Sampling = Literal["keyed", "sae_bench"]
"""How texts are drawn: each draw by its own key, or from one random stream as SAEBench does."""

_BEGINNING = 200


def draw(texts: Sequence[str], n: int, *key: str | int) -> list[str]:
    """`n` of `texts` without replacement, in random order; a smaller `n` gives the beginning of a larger one.

    Every position gets a digest of `key` and its number, and the lowest digests are drawn. This is the same on every
    machine and with every library version.
    """
    stem = "\0".join(map(str, key)).encode()

    def rank(position: int) -> bytes:
        return hashlib.blake2b(b"%d" % position, key=hashlib.sha256(stem).digest(), digest_size=16).digest()

    return [texts[position] for position in sorted(range(len(texts)), key=rank)[:n]]


def is_held_out(text: str) -> bool:
    """Whether a text is of the third for testing, where the data set itself is not divided.

    Texts that begin with the same 200 characters, spaces aside, are on the same side: in a later version of a document,
    or under another question, a probe would recognise what it was trained on.
    """
    beginning = " ".join(text[:_BEGINNING].split())
    return int.from_bytes(hashlib.blake2b(beginning.encode(), digest_size=8).digest()) % 3 == 0


def shares(n: int, groups: Sequence[str]) -> dict[str, int]:
    """`n` divided over the groups as evenly as possible; the first groups get one more."""
    each, remainder = divmod(n, len(groups))
    return {name: each + (place < remainder) for place, name in enumerate(groups)}
