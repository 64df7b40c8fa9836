"""Every SAE against every other, and against baselines, on every metric: the difference and its interval."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from sae_research.metrics.differences import Differences, discovery_level
from sae_research.metrics.draws import DrawnError, error_over_draws
from sae_research.metrics.intervals import standard_errors
from sae_research.metrics.reliability import benjamini_hochberg
from sae_research.results.columns import Column, columns_by_name
from sae_research.results.merge import Entry
from sae_research.results.numbers import rounded

Method = Literal["paired", "unpaired", "none"]


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


def compare_saes(entries: Sequence[Entry]) -> list[Comparison]:
    """All pairs of SAEs that were computed here, and baselines, on every column of the table with a direction.

    The language model's own numbers are left out. Paired intervals have the error model of the numbers' own: a
    jackknife over groups of the units that both SAEs were measured on, and where draws were repeated what they add.
    """
    columns = [column for column in columns_by_name(entries).values() if column.spec.direction != "neither"]
    compared = [(column, _differences(column)) for column in columns if column.measured and len(column.everyone) > 1]
    corrections = {
        headline: _Corrections.over([pair for pair in compared if pair[0].spec.headline == headline])
        for headline in (True, False)
    }
    return [
        pair
        for column, differences in compared
        for pair in _pairs(column, differences, corrections[column.spec.headline])
    ]


class _Correction(NamedTuple):
    """What Benjamini & Hochberg make of all pairs of several columns."""

    level: float
    """At which each pair is tested."""
    adjusted: Mapping[float, float]
    """By p value."""

    @classmethod
    def over(cls, p_values: Sequence[np.ndarray]) -> _Correction:
        p = np.concatenate([np.empty(0), *p_values])
        known = p[np.isfinite(p)]
        return cls(discovery_level(known), dict(zip(known.tolist(), benjamini_hochberg(known).tolist(), strict=True)))


class _Corrections(NamedTuple):
    """Of the pairs of SAEs, and of those with a baseline, some of which differ by what the baseline is."""

    saes: _Correction
    baselines: _Correction

    @classmethod
    def over(cls, compared: Sequence[tuple[Column, Differences]]) -> _Corrections:
        return cls(
            *(
                _Correction.over([d.p_values()[_with_baseline(column) == chosen] for column, d in compared])
                for chosen in (False, True)
            )
        )


def _with_baseline(column: Column) -> np.ndarray:
    """Of all pairs in the order of `np.triu_indices`: whether one of the two is a baseline."""
    return np.triu_indices(len(column.everyone), k=1)[1] >= len(column.measured)


def _differences(column: Column) -> Differences:
    """Of all pairs of SAEs and baselines, in the order of `np.triu_indices`.

    Paired where both have replicates over the same groups and differ in any of them; from the two intervals otherwise.
    """
    measured = list(column.everyone.values())
    values = np.array([float(m.value or 0.0) for m in measured])
    a, b = np.triu_indices(len(values), k=1)
    low, high = (
        np.array([np.nan if e is None else e for e in ends])
        for ends in zip(*((m.ci_low, m.ci_high) for m in measured), strict=True)
    )
    # MOVER: the lower end of a difference of independent estimates comes from a's lower and b's upper end.
    down, up = values - low, high - values
    below, above = np.hypot(down[a], up[b]), np.hypot(up[a], down[b])
    error = _paired_error(column, a, b)
    # Where two SAEs agree on every unit, the units say nothing of how far they may be apart on others.
    paired = error.standard_error > 0
    half = error.half_widths
    return Differences(
        values[a] - values[b],
        np.where(paired, half, below),
        np.where(paired, half, above),
        np.where(paired, error.degrees, np.inf),
    )


def _paired_error(column: Column, a: np.ndarray, b: np.ndarray) -> DrawnError:
    """The error of each difference over what both SAEs were measured on; 0 where that is not known."""
    saes = list(column.everyone)
    seeds = column.seeds_of(saes)
    if len(seeds) > 1:
        drawn = [[column.seed_replicates[sae][seed] for seed in seeds] for sae in saes]
        if len({len(replicates) for of_sae in drawn for replicates in of_sae}) == 1 and drawn[0][0]:
            values = np.array([[column.seeds[sae][seed] for seed in seeds] for sae in saes])
            replicates = np.array(drawn)
            return error_over_draws(values[a] - values[b], replicates[a] - replicates[b])
    stored = [m.replicates for m in column.everyone.values()]
    counts = Counter(map(len, filter(None, stored)))
    groups = counts.most_common(1)[0][0] if counts else 2
    whole = np.array([len(replicates) == groups for replicates in stored])
    table = np.array([r if usable else (0.0,) * groups for r, usable in zip(stored, whole, strict=True)])
    errors = np.where(whole[a] & whole[b], standard_errors(table[a] - table[b]), 0.0)
    return DrawnError(errors, np.full(len(a), groups - 1.0))


def _pairs(column: Column, differences: Differences, corrections: _Corrections) -> Iterator[Comparison]:
    names, spec, with_baseline = list(column.everyone), column.spec, _with_baseline(column)
    further = [differences.half_widths(correction.level) for correction in corrections]
    numbers = [
        differences.values,
        *differences.half_widths(),
        *(np.where(with_baseline, *ends[::-1]) for ends in zip(*further, strict=True)),
        differences.p_values(),
    ]
    paired = np.isfinite(differences.degrees).tolist()
    by_pair = np.column_stack(numbers).tolist()
    for place, (a, b) in enumerate(itertools.combinations(names, 2)):
        difference, below, above, further_below, further_above, p = by_pair[place]
        correction = corrections.baselines if with_baseline[place] else corrections.saes
        known = math.isfinite(below) and math.isfinite(above)
        low, high = difference - below, difference + above
        low_adjusted, high_adjusted = difference - further_below, difference + further_above
        apart = known and (low > 0 or high < 0)
        yield Comparison(
            eval=column.eval,
            metric=spec.name,
            at=column.at,
            column=column.name,
            direction=spec.direction,
            sae_a=a,
            sae_b=b,
            difference=rounded(difference),
            ci_low=rounded(low) if known else None,
            ci_high=rounded(high) if known else None,
            distinguishable=apart if known else None,
            better=(a if (difference > 0) == (spec.direction == "higher") else b) if apart else None,
            method=("paired" if paired[place] else "unpaired") if known else "none",
            headline=spec.headline,
            with_baseline=bool(with_baseline[place]),
            p=rounded(p) if known else None,
            p_adjusted=rounded(correction.adjusted[p]) if known else None,
            ci_low_adjusted=rounded(low_adjusted) if known else None,
            ci_high_adjusted=rounded(high_adjusted) if known else None,
            distinguishable_adjusted=(low_adjusted > 0 or high_adjusted < 0) if known else None,
        )
