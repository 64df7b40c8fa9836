"""Every SAE against every other, and against baselines, on every metric: the difference and its interval."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, overload

import numpy as np

from sae_research.metrics.differences import Differences, discovery_level
from sae_research.metrics.reliability import benjamini_hochberg
from sae_research.results.columns import Column, columns_by_name
from sae_research.results.merge import Entry
from sae_research.results.numbers import rounded
from sae_research.results.pairing import differences_of, with_baseline

Method = Literal["paired", "unpaired", "none"]
PairKey = tuple[str, str, str, str]
"""Eval, column, SAE and SAE."""

MOST_IN_TABLE = 64
"""SAEs of which `comparisons.csv` has all pairs: their number grows with the square. `compare A B` and the explorer
compute any pair from the replicates."""


@dataclass(frozen=True)
class Comparison:
    """Two SAEs on one metric."""

    eval: str
    metric: str
    at: str
    """Where the metric was taken, as in the table of results."""
    column: str
    direction: str
    """Which way is better: higher or lower."""
    sae_a: str
    sae_b: str
    difference: float
    """The number of `sae_a` minus that of `sae_b`."""
    ci_low: float | None
    ci_high: float | None
    distinguishable: bool | None
    """Whether the 95 % interval leaves out 0; None without an interval. Says nothing of the other comparisons."""
    better: str | None
    """The SAE with the better number, if the two are distinguishable."""
    method: Method
    """`paired`: both on the same sequences or examples. `unpaired`: from the two intervals as if they were independent,
    which is wider than necessary. `none`: one of the numbers has no interval."""
    headline: bool
    """Whether the report has the column. p values are adjusted over the pairs of all columns that are alike in this,
    those with a baseline by themselves."""
    with_baseline: bool
    """Whether one of the two, or both, is no SAE but a baseline of the eval."""
    p: float | None
    """The level at which the interval ends at 0."""
    p_adjusted: float | None
    """Of Benjamini & Hochberg."""
    ci_low_adjusted: float | None
    """The interval at the level at which Benjamini & Hochberg test, wider than the one at 95 %."""
    ci_high_adjusted: float | None
    distinguishable_adjusted: bool | None
    """Whether the adjusted interval leaves out 0. Of the pairs that are distinguishable so, 5 % at most are expected to
    be equal."""


def compare_saes(entries: Sequence[Entry]) -> Comparisons:
    """All pairs of SAEs that were computed here, and baselines, on every column of the table with a direction.

    The language model's own numbers are left out. Paired intervals have the error model of the numbers' own: a
    jackknife over groups of the units that both SAEs were measured on, and where draws were repeated what they add.
    """
    return compare_columns(columns_by_name(entries).values())


def compare_columns(columns: Iterable[Column]) -> Comparisons:
    """The same for the columns by themselves."""
    columns = [column for column in columns if column.spec.direction != "neither"]
    compared = [(column, differences_of(column)) for column in columns if column.measured and len(column.everyone) > 1]
    corrections = {
        headline: _Corrections.over([pair for pair in compared if pair[0].spec.headline == headline])
        for headline in (True, False)
    }
    return Comparisons([_Compared(column, d, corrections[column.spec.headline]) for column, d in compared])


class ToldApart(NamedTuple):
    """How many pairs are told apart."""

    pairs: int
    """Those with an interval."""
    by_interval: int
    """Whose 95 % interval leaves out 0."""
    adjusted: int
    """Which Benjamini & Hochberg tell apart."""


class Comparisons(Sequence[Comparison]):
    """All pairs, each made when it is asked for: of 500 SAEs they would fill the memory."""

    def __init__(self, compared: Sequence[_Compared]) -> None:
        self._compared = {(one.column.eval, one.column.name): one for one in compared}

    def __len__(self) -> int:
        return sum(one.count for one in self._compared.values())

    def __iter__(self) -> Iterator[Comparison]:
        for one in self._compared.values():
            yield from one.pairs()

    @overload
    def __getitem__(self, index: int) -> Comparison: ...
    @overload
    def __getitem__(self, index: slice) -> list[Comparison]: ...
    def __getitem__(self, index: int | slice) -> Comparison | list[Comparison]:
        return [*self][index]

    def of_columns(self, names: Collection[str]) -> Iterator[Comparison]:
        """The pairs of the columns with these names."""
        for one in self._compared.values():
            if one.column.name in names:
                yield from one.pairs()

    def get(self, key: PairKey) -> Comparison | None:
        """The comparison of two SAEs, in either order; None where one of them has no number there."""
        eval_name, column, a, b = key
        compared = self._compared.get((eval_name, column))
        return None if compared is None else compared.between(a, b)

    def told_apart(self) -> ToldApart:
        """Of the pairs of SAEs on the report's columns."""
        return ToldApart(*map(sum, zip((0, 0, 0), *(one.told_apart() for one in self._compared.values()), strict=True)))

    def in_table(self) -> Iterator[Comparison]:
        """What `comparisons.csv` has: all pairs, or of many SAEs those of each column's best with every other."""
        if self.most_saes <= MOST_IN_TABLE:
            yield from self
            return
        for one in self._compared.values():
            yield from one.with_best()

    @property
    def most_saes(self) -> int:
        """SAEs of the column that has most."""
        return max((len(one.column.measured) for one in self._compared.values()), default=0)


class _Correction(NamedTuple):
    """What Benjamini & Hochberg make of all pairs of several columns."""

    level: float
    """At which each pair is tested."""
    p: np.ndarray
    """All p values, rising."""
    p_adjusted: np.ndarray

    @classmethod
    def over(cls, p_values: Sequence[np.ndarray]) -> _Correction:
        p = np.concatenate([np.empty(0), *p_values])
        known = np.sort(p[np.isfinite(p)])
        return cls(discovery_level(known), known, benjamini_hochberg(known))

    def adjusted(self, p: float) -> float:
        """What one of the p values becomes; equal ones become the same."""
        return float(self.p_adjusted[np.searchsorted(self.p, p, side="right") - 1])


class _Corrections(NamedTuple):
    """Of the pairs of SAEs, and of those with a baseline, some of which differ by what the baseline is."""

    saes: _Correction
    baselines: _Correction

    @classmethod
    def over(cls, compared: Sequence[tuple[Column, Differences]]) -> _Corrections:
        return cls(
            *(
                _Correction.over([d.p_values()[with_baseline(column) == chosen] for column, d in compared])
                for chosen in (False, True)
            )
        )


@dataclass(frozen=True)
class _Compared:
    """The pairs of a column, in the order of `np.triu_indices`."""

    column: Column
    differences: Differences
    corrections: _Corrections

    @property
    def count(self) -> int:
        return len(self.differences.values)

    @cached_property
    def _places(self) -> Mapping[str, int]:
        return {name: place for place, name in enumerate(self.column.everyone)}

    def pairs(self) -> Iterator[Comparison]:
        names = list(self._places)
        for place, (a, b) in enumerate(itertools.combinations(names, 2)):
            yield self._comparison(place, a, b)

    def between(self, a: str, b: str) -> Comparison | None:
        first, second = self._places.get(a), self._places.get(b)
        if first is None or second is None or first == second:
            return None
        names = (a, b) if first < second else (b, a)
        return self._comparison(self._place_of(*sorted((first, second))), *names)

    def with_best(self) -> Iterator[Comparison]:
        """The pairs of the SAE with the best number."""
        values = {name: m.value or 0.0 for name, m in self.column.measured.items()}
        best = (min if self.column.spec.direction == "lower" else max)(values, key=lambda name: values[name])
        pairs = (self.between(best, other) for other in self._places)
        yield from (pair for pair in pairs if pair is not None)

    def told_apart(self) -> tuple[int, int, int]:
        """`ToldApart` of the pairs of SAEs; nothing of a column that the report does not have."""
        if not self.column.spec.headline:
            return 0, 0, 0
        of_saes = self._numbers[~with_baseline(self.column)]
        value, below, above, further_below, further_above, _ = of_saes.T
        known = np.isfinite(below) & np.isfinite(above)
        apart, adjusted = (
            (value - low > 0) | (value + high < 0) for low, high in ((below, above), (further_below, further_above))
        )
        return int(known.sum()), int((known & apart).sum()), int((known & adjusted).sum())

    def _place_of(self, first: int, second: int) -> int:
        return first * len(self._places) - first * (first + 1) // 2 + second - first - 1

    @cached_property
    def _numbers(self) -> np.ndarray:
        """(pair, 6): difference, ends below and above, the same corrected, p."""
        differences, baseline = self.differences, with_baseline(self.column)
        further = [differences.half_widths(correction.level) for correction in self.corrections]
        numbers = [
            differences.values,
            *differences.half_widths(),
            *(np.where(baseline, *ends[::-1]) for ends in zip(*further, strict=True)),
            differences.p_values(),
        ]
        return np.column_stack(numbers)

    def _comparison(self, place: int, a: str, b: str) -> Comparison:
        spec = self.column.spec
        difference, below, above, further_below, further_above, p = self._numbers[place].tolist()
        has_baseline = max(self._places[a], self._places[b]) >= len(self.column.measured)
        correction = self.corrections.baselines if has_baseline else self.corrections.saes
        known = math.isfinite(below) and math.isfinite(above)
        low, high = difference - below, difference + above
        low_adjusted, high_adjusted = difference - further_below, difference + further_above
        apart = known and (low > 0 or high < 0)
        paired = math.isfinite(self.differences.degrees[place])
        return Comparison(
            eval=self.column.eval,
            metric=spec.name,
            at=self.column.at,
            column=self.column.name,
            direction=spec.direction,
            sae_a=a,
            sae_b=b,
            difference=rounded(difference),
            ci_low=rounded(low) if known else None,
            ci_high=rounded(high) if known else None,
            distinguishable=apart if known else None,
            better=(a if (difference > 0) == (spec.direction == "higher") else b) if apart else None,
            method=("paired" if paired else "unpaired") if known else "none",
            headline=spec.headline,
            with_baseline=has_baseline,
            p=rounded(p) if known else None,
            p_adjusted=rounded(correction.adjusted(p)) if known else None,
            ci_low_adjusted=rounded(low_adjusted) if known else None,
            ci_high_adjusted=rounded(high_adjusted) if known else None,
            distinguishable_adjusted=(low_adjusted > 0 or high_adjusted < 0) if known else None,
        )
