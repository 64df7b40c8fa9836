"""Pairs of prompts for RAVEL: whose latents go where, and what the model is to answer then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sae_research.evals.ravel.prompts import Prompts
from sae_research.evals.ravel.settings import RavelSettings
from sae_research.probes.draws import keyed_generator

Pair = tuple[int, int, bool]
"""Base prompt, source prompt, whether the source's value is wanted (cause) or the base's (isolation)."""
_PARTS = ("train", "test")


@dataclass(frozen=True)
class Pairs:
    """Pairs of rows of `Prompts`."""

    base: Int[Tensor, " pair"]
    source: Int[Tensor, " pair"]
    is_cause: Bool[Tensor, " pair"]

    def __len__(self) -> int:
        return len(self.base)

    def take(self, rows: Tensor) -> Pairs:
        """Those pairs, in that order."""
        return Pairs(self.base[rows], self.source[rows], self.is_cause[rows])

    def to(self, device: torch.device) -> Pairs:
        """The same pairs on `device`."""
        return Pairs(self.base.to(device), self.source.to(device), self.is_cause.to(device))

    def wanted(self) -> Int[Tensor, " pair"]:
        """The prompt whose answer is wanted."""
        return torch.where(self.is_cause, self.source, self.base)


class Split(NamedTuple):
    """The pairs of one attribute."""

    train: Pairs
    test: Pairs


def draw_pairs(
    prompts: Prompts, attribute: str, others: Sequence[str], settings: RavelSettings, key: tuple[str | int, ...]
) -> Split:
    """The pairs of `attribute`: for cause its own prompts, for isolation those of the `others`, equally many.

    Both prompts of a pair are about one attribute and have different values of it.
    """
    n = settings.num_pairs_per_attribute
    if settings.split == "sae_bench":
        pairs = _draw(prompts, attribute, others, range(len(prompts.items)), n, (*key, attribute))
        cut = int(len(pairs) * settings.train_share)
        # SAEBench drops what does not fill a batch, on both sides.
        whole = [part[: len(part) // settings.batch_size * settings.batch_size] for part in (pairs[:cut], pairs[cut:])]
        return Split(*map(_tensors, whole))
    sizes = {"train": round(n * settings.train_share), "test": n - round(n * settings.train_share)}
    rows = {part: [i for i, item in enumerate(prompts.items) if item.held_out == (part == "test")] for part in _PARTS}
    return Split(
        *(_tensors(_draw(prompts, attribute, others, rows[p], sizes[p], (*key, attribute, p))) for p in _PARTS)
    )


def _draw(
    prompts: Prompts, attribute: str, others: Sequence[str], rows: Sequence[int], n: int, key: tuple[str | int, ...]
) -> list[Pair]:
    """At most `n` pairs for cause and as many for isolation, shuffled."""
    cause = [(a, b, True) for a, b in _of_attribute(prompts, attribute, rows, n, (*key, "cause"))]
    isolation = [
        (a, b, False) for other in others for a, b in _of_attribute(prompts, other, rows, n, (*key, "isolation", other))
    ]
    isolation = _shuffled(isolation, (*key, "isolation"))[: len(cause)]
    return _shuffled(cause + isolation, (*key, "all"))


def _of_attribute(
    prompts: Prompts, attribute: str, rows: Sequence[int], n: int, key: tuple[str | int, ...]
) -> list[tuple[int, int]]:
    """At most `n` prompts of the attribute, each with a prompt of it that has another value."""
    own = [row for row in rows if prompts.items[row].attribute == attribute]
    by_label: dict[str, list[int]] = {}
    for row in own:
        by_label.setdefault(prompts.items[row].label, []).append(row)
    differing = {label: [r for r in own if prompts.items[r].label != label] for label in by_label}
    generator = keyed_generator(*key)
    pairs = []
    for row in (own[i] for i in generator.permutation(len(own))[:n]):
        choices = differing[prompts.items[row].label]
        if choices:
            pairs.append((row, choices[int(generator.integers(len(choices)))]))
    return pairs


def _shuffled(pairs: list[Pair], key: tuple[str | int, ...]) -> list[Pair]:
    return [pairs[i] for i in keyed_generator(*key, "shuffle").permutation(len(pairs))]


def _tensors(pairs: Sequence[Pair]) -> Pairs:
    table = np.array(pairs, dtype=np.int64).reshape(-1, 3)
    return Pairs(torch.from_numpy(table[:, 0]), torch.from_numpy(table[:, 1]), torch.from_numpy(table[:, 2]).bool())
