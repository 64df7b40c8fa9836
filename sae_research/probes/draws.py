"""Which examples a probe sees: draws keyed by what they are for, so that no number depends on order or company."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Literal

import numpy as np

Rules = Literal["clean", "sae_bench"]
"""How ablations are judged: real tokens and latents that speak for the class alone, or as SAEBench does."""


def keyed_generator(*parts: str | int) -> np.random.Generator:
    """A generator whose stream depends on `parts` alone (Philox, keyed by their SHA-256)."""
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "big")))


def draw_negatives(sizes: Mapping[str, int], positive: str, *, key: tuple[str | int, ...]) -> dict[str, np.ndarray]:
    """As many examples of the other classes as `positive` has, the same number of each up to rounding.

    Returns ascending indices by class. SAEBench draws ⌈P / (classes - 1)⌉ of each other class, then P of all of these;
    so does this, with a generator for each class and one for the final cut, all keyed.
    """
    wanted = sizes[positive]
    others = sorted(name for name in sizes if name != positive)
    each = math.ceil(wanted / len(others))
    drawn = {
        name: keyed_generator(*key, positive, "negatives", name).permutation(sizes[name])[:each] for name in others
    }
    owners = np.repeat(np.arange(len(others)), [len(drawn[name]) for name in others])
    if len(owners) < wanted:
        raise ValueError(f"class {positive!r} has {wanted} examples, all others together offer {len(owners)}")
    kept = np.sort(keyed_generator(*key, positive, "cut").permutation(len(owners))[:wanted])
    pooled = np.concatenate([drawn[name] for name in others])
    return {name: np.sort(pooled[kept[owners[kept] == i]]) for i, name in enumerate(others)}


def draw_held_out(size: int, share: float, *, key: tuple[str | int, ...]) -> np.ndarray:
    """Which of `size` examples are held out, as booleans: `share` of them, at least one."""
    held = np.zeros(size, dtype=bool)
    held[keyed_generator(*key, "held out").permutation(size)[: max(1, round(share * size))]] = True
    return held
