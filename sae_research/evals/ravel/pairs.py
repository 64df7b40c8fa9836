"""Pairs of prompts for RAVEL: whose latents go into which prompt, and what the model should then answer."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sae_research.evals.ravel.prompts import Prompts
from sae_research.evals.ravel.settings import VALIDATION_SHARE, RavelSettings
from sae_research.probes.draws import keyed_generator

Pair = tuple[int, int, bool]
"""Base prompt, source prompt, and whether the source's value is wanted (cause) or the base's (isolation)."""


@dataclass(frozen=True)
class Pairs:
    """Pairs of rows of `Prompts`."""

    base: Int[Tensor, " pair"]
    source: Int[Tensor, " pair"]
    is_cause: Bool[Tensor, " pair"]

    def __len__(self) -> int:
        return len(self.base)

    @cached_property
    def n_cause(self) -> int:
        """How many are for cause; the others are for isolation."""
        return int(self.is_cause.sum())

    def take(self, rows: Tensor) -> Pairs:
        """These pairs, in this order."""
        return Pairs(self.base[rows], self.source[rows], self.is_cause[rows])

    def wanted(self) -> Int[Tensor, " pair"]:
        """The prompt whose answer is wanted."""
        return torch.where(self.is_cause, self.source, self.base)


class PairSplit(NamedTuple):
    """The pairs of one attribute."""

    train: Pairs
    test: Pairs


def draw_pairs(
    prompts: Prompts, attribute: str, others: Sequence[str], settings: RavelSettings, key: tuple[str | int, ...]
) -> PairSplit:
    """The pairs of `attribute`: its own prompts for cause, and as many prompts of the `others` for isolation.

    Both prompts of a pair are about the same attribute and have different values of it, which they need not have under
    `split: original`.
    """
    n, key = settings.num_pairs_per_attribute, (*key, attribute)
    if settings.split == "original":
        return _draw_as_original(prompts, attribute, others, settings, key)
    if settings.split == "sae_bench":
        pairs = _draw(prompts, attribute, others, range(len(prompts.items)), n, key)
        cut = int(len(pairs) * settings.train_share)
        # SAEBench drops incomplete batches, in training and in testing.
        whole = [part[: len(part) // settings.batch_size * settings.batch_size] for part in (pairs[:cut], pairs[cut:])]
        return PairSplit(*map(_tensors, whole))
    n_train = round(n * settings.train_share)
    train_rows, test_rows = ([i for i, item in enumerate(prompts.items) if item.held_out == h] for h in (False, True))
    return PairSplit(
        train=_tensors(_draw(prompts, attribute, others, train_rows, n_train, (*key, "train"))),
        test=_tensors(_draw(prompts, attribute, others, test_rows, n - n_train, (*key, "test"))),
    )


def _draw_as_original(
    prompts: Prompts, attribute: str, others: Sequence[str], settings: RavelSettings, key: tuple[str | int, ...]
) -> PairSplit:
    """Whole batches of pairs for cause or for isolation, never both, in an order that is drawn once."""
    about = [{item.entity for item in prompts.items if item.attribute == a} for a in (attribute, *others)]
    known = set.intersection(*about)
    n, size = settings.num_pairs_per_attribute, settings.batch_size
    pairs = [(a, b, True) for a, b in _ordered_pairs(prompts, attribute, known)]
    cause = _shuffled(pairs, (*key, "cause"))[:n]
    pairs = [(a, b, False) for other in others for a, b in _ordered_pairs(prompts, other, known)]
    isolation = _shuffled(pairs, (*key, "isolation"))[: len(cause)]
    train: list[list[Pair]] = []
    test: list[list[Pair]] = []
    for kind in (cause, isolation):
        batches = [kind[start : start + size] for start in range(0, len(kind) // size * size, size)]
        # Decimal shares: 0.7 + 0.1 of 100 is 80, and not 79.
        cut, begin = (
            int(round(s * len(batches), 6)) for s in (settings.train_share, settings.train_share + VALIDATION_SHARE)
        )
        train += batches[:cut]
        test += batches[begin:]
    order = keyed_generator(*key, "batches").permutation(len(train))
    return PairSplit(*(_tensors([p for b in batches for p in b]) for batches in ([train[i] for i in order], test)))


def _ordered_pairs(prompts: Prompts, attribute: str, entities: Set[str]) -> list[tuple[int, int]]:
    """Every prompt of the attribute about these entities with every one of the same wording, itself too."""
    rows = [i for i, item in enumerate(prompts.items) if item.attribute == attribute and item.entity in entities]
    return [(a, b) for a in rows for b in rows if prompts.items[a].template == prompts.items[b].template]


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
    """At most `n` prompts of the attribute, each with another prompt of it that has a different value."""
    rows = [row for row in rows if prompts.items[row].attribute == attribute]
    labels = {prompts.items[row].label for row in rows}
    with_other_label = {label: [row for row in rows if prompts.items[row].label != label] for label in labels}
    generator = keyed_generator(*key)
    pairs = []
    for base in (rows[i] for i in generator.permutation(len(rows))[:n]):
        sources = with_other_label[prompts.items[base].label]
        if sources:
            pairs.append((base, sources[int(generator.integers(len(sources)))]))
    return pairs


def _shuffled(pairs: list[Pair], key: tuple[str | int, ...]) -> list[Pair]:
    return [pairs[i] for i in keyed_generator(*key, "shuffle").permutation(len(pairs))]


def _tensors(pairs: Sequence[Pair]) -> Pairs:
    table = np.array(pairs, dtype=np.int64).reshape(-1, 3)
    return Pairs(torch.from_numpy(table[:, 0]), torch.from_numpy(table[:, 1]), torch.from_numpy(table[:, 2]).bool())
