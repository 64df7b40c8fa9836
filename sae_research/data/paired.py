"""Texts for spurious-correlation removal: pairs of classes in four quadrants, two of which form a biased sample."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

from sae_research.data.described import pairs_of, read_described, require_pairs, two_groups
from sae_research.data.draw import Sampling, draw
from sae_research.data.family import ByClass, Crossed, class_codes, read_splits
from sae_research.data.labelled import families
from sae_research.errors import UserError
from sae_research.sources.described import DescribedSet
from sae_research.sources.hub import Hub


class Quadrants(NamedTuple):
    """The texts of one split. The two biased quadrants hold twice as many as the others, and their first halves belong
    to the balanced sample; in a test split on which no biased probe is chosen, all four hold equally many."""

    first_first: list[str]
    """Of the first class and the first group; biased."""
    first_second: list[str]
    second_first: list[str]
    second_second: list[str]
    """Of the second class and the second group; biased."""

    @property
    def n(self) -> int:
        """Texts of each quadrant in the balanced sample."""
        return len(self.first_second)


class PairedSet(NamedTuple):
    """Two classes of a data set, crossed with its two groups."""

    name: str
    """The data set's name."""
    pair: tuple[str, str]
    train: Quadrants
    test: Quadrants


class PairPool(NamedTuple):
    """All texts of a crossed data set that may be drawn."""

    name: str
    groups: tuple[str, str]
    pairs: tuple[tuple[str, str], ...]
    train: ByClass
    test: ByClass


@lru_cache(maxsize=1)
def _crossed() -> Mapping[str, Crossed]:
    return {name: crossed for family in dict.fromkeys(families().values()) for name, crossed in family.crossed.items()}


def require_crossed(name: str, described: Mapping[str, DescribedSet] = MappingProxyType({})) -> None:
    """Raises a UserError that lists the valid names unless `name` is a data set of classes crossed with groups."""
    if name in described:
        require_pairs(name, described[name])
        return
    if name not in _crossed():
        valid = sorted(_crossed(), key=lambda other: (not other.startswith("embedded/"), other))
        raise UserError(
            f"data set {name!r} has no pairs of classes for SCR; valid: {', '.join(valid)}. To use one of your own, "
            "describe it in params.yaml: data_sets: {NAME: {repo: FOLDER, text: COLUMN, label: COLUMN, group: COLUMN, "
            "pairs: [[CLASS, OTHER CLASS]]}}"
        )


def read_pairs(hub: Hub, name: str) -> PairPool:
    """The pool of `name`."""
    if name in hub.described:
        return _read_described_pairs(hub, name)
    require_crossed(name)
    crossed = _crossed()[name]
    label = crossed.columns.label
    codes = class_codes(hub, crossed.repository, label) if crossed.codes is None else crossed.codes
    sides = sorted({side for pair in crossed.pairs for side in pair})
    pool = read_splits(hub, crossed.repository, crossed.columns, {side: codes[side] for side in sides})
    if pool.test is None:
        raise UserError(f"data set {crossed.repository!r} has no test split, which SCR needs")
    return PairPool(name, crossed.groups, crossed.pairs, pool.train, pool.test)


def _read_described_pairs(hub: Hub, name: str) -> PairPool:
    described, pool = hub.described[name], read_described(hub, name)
    pairs = pairs_of(name, described, pool)
    assert pool.test is not None
    return PairPool(name, two_groups(name, described, pool), pairs, pool.train, pool.test)


def load_pairs(hub: Hub, name: str, *, train: int, test: int, seed: int, sampling: Sampling) -> list[PairedSet]:
    """All pairs of `name` with `train` and `test` texts per quadrant; `sampling` as in `cut_pair`."""
    pool = read_pairs(hub, name)
    return [cut_pair(pool, pair, train=train, test=test, seed=seed, sampling=sampling) for pair in pool.pairs]


def cut_pair(
    pool: PairPool, pair: tuple[str, str], *, train: int, test: int, seed: int, sampling: Sampling
) -> PairedSet:
    """The quadrants of `pair`.

    `keyed`: texts are drawn; they depend on data set, class, group, split, seed and number only. `sae_bench`: the first
    texts of each quadrant in the order of the data set, with a biased sample in the test split too, on which SAEBench
    chooses the epoch of its biased probe.
    """
    as_sae_bench = sampling == "sae_bench"

    def quadrants(split: str, classes: ByClass, n: int, biased: int) -> Quadrants:
        def texts(side: int, group: int, count: int) -> list[str]:
            name, label = pair[side], pool.groups[group]
            of_group = classes.get(name, {}).get(label, [])
            if len(of_group) < count:
                raise UserError(
                    f"data set {pool.name!r}, {split} split: class {name!r} with {label!r} has {len(of_group)} texts, "
                    f"needed {count}; lower the size of that split in scr"
                )
            return of_group[:count] if as_sae_bench else draw(of_group, count, pool.name, name, label, split, seed)

        return Quadrants(texts(0, 0, biased), texts(0, 1, n), texts(1, 0, n), texts(1, 1, biased))

    return PairedSet(
        name=pool.name,
        pair=pair,
        train=quadrants("train", pool.train, train, 2 * train),
        test=quadrants("test", pool.test, test, 2 * test if as_sae_bench else test),
    )
