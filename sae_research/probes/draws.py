"""Which examples a probe sees. Each draw is keyed by its purpose, so no number depends on order or on other SAEs."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Literal

import numpy as np

Rules = Literal["clean", "sae_bench"]
"""The scope of ablations: real tokens and latents that speak for the class (`clean`), or as in SAEBench."""


def keyed_generator(*parts: str | int) -> np.random.Generator:
    """A generator whose stream depends on `parts` only (Philox, keyed by their SHA-256)."""
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "big")))


def draw_negatives(sizes: Mapping[str, int], positive: str, *, key: tuple[str | int, ...]) -> dict[str, np.ndarray]:
    """As many examples of the other classes as `positive` has, equally many of each up to rounding.

    Returns ascending indices by class. Like SAEBench this draws ⌈P / (classes - 1)⌉ of each other class, then P of
    these; here each class and the final cut have a keyed generator of their own.
    """
    n_positive = sizes[positive]
    others = sorted(name for name in sizes if name != positive)
    n_each = math.ceil(n_positive / len(others))
    drawn = {
        name: keyed_generator(*key, positive, "negatives", name).permutation(sizes[name])[:n_each] for name in others
    }
    owners = np.repeat(np.arange(len(others)), [len(drawn[name]) for name in others])
    if len(owners) < n_positive:
        raise ValueError(f"class {positive!r} has {n_positive} examples, all others together offer {len(owners)}")
    cut = np.sort(keyed_generator(*key, positive, "cut").permutation(len(owners))[:n_positive])
    pooled = np.concatenate([drawn[name] for name in others])
    return {name: np.sort(pooled[cut[owners[cut] == i]]) for i, name in enumerate(others)}


def draw_held_out(size: int, share: float, *, key: tuple[str | int, ...]) -> np.ndarray:
    """Whether each of `size` examples is held out: `share` of them are, at least one."""
    held_out = np.zeros(size, dtype=bool)
    held_out[keyed_generator(*key, "held out").permutation(size)[: max(1, round(share * size))]] = True
    return held_out
