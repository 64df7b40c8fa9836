"""The differences between all SAEs and baselines of a column, with their errors: paired wherever that is possible."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sae_research.metrics.differences import (
    LEVEL,
    Differences,
    TestedTogether,
    shared_discovery_level,
    student_quantiles,
)
from sae_research.metrics.draws import DrawnError, error_over_draws
from sae_research.metrics.intervals import standard_errors
from sae_research.results.columns import Column

_AT_ONCE = 2048
"""Pairs whose replicates are subtracted at once: with 32 groups they fill half a megabyte, which a cache holds."""


def with_baseline(column: Column) -> np.ndarray:
    """Of all pairs in the order of `np.triu_indices`: whether one of the two is a baseline."""
    return np.triu_indices(len(column.everyone), k=1)[1] >= len(column.measured)


def differences_of(column: Column) -> Differences:
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
    half = student_quantiles(error.degrees, 1 - LEVEL / 2) * error.standard_error
    return Differences(
        values[a] - values[b],
        np.where(paired, half, below),
        np.where(paired, half, above),
        np.where(paired, error.degrees, np.inf),
    )


class Paired(NamedTuple):
    """What the paired differences of a column are computed from: a row for each SAE and baseline."""

    whole: np.ndarray
    """(row, group): the number without one group of test units; NaN for those that cannot be paired."""
    seeds: Sequence[int | float | str] = ()
    values: np.ndarray = np.empty((0, 0))
    """(row, seed): the number under each seed, where there are several that everyone has."""
    drawn: np.ndarray = np.empty((0, 0, 0))
    """(row, seed, group): their replicates."""


def paired_numbers(column: Column) -> Paired:
    """Those of everyone in the column, in its order."""
    names = list(column.everyone)
    stored = [m.replicates for m in column.everyone.values()]
    counts = Counter(map(len, filter(None, stored)))
    groups = counts.most_common(1)[0][0] if counts else 2
    nothing = (math.nan,) * groups
    whole = np.array([replicates if len(replicates) == groups else nothing for replicates in stored])
    seeds = column.seeds_of(names)
    if len(seeds) > 1:
        drawn = [[column.seed_replicates[name][seed] for seed in seeds] for name in names]
        if len({len(replicates) for of_name in drawn for replicates in of_name}) == 1 and drawn[0][0]:
            values = np.array([[column.seeds[name][seed] for seed in seeds] for name in names])
            return Paired(whole, seeds, values, np.array(drawn))
    return Paired(whole)


def _paired_error(column: Column, a: np.ndarray, b: np.ndarray) -> DrawnError:
    """The error of each difference over what both SAEs were measured on; 0 where that is not known."""
    paired = paired_numbers(column)
    parts = [slice(start, start + _AT_ONCE) for start in range(0, len(a), _AT_ONCE)]
    if paired.seeds:
        errors = [
            error_over_draws(paired.values[a[i]] - paired.values[b[i]], paired.drawn[a[i]] - paired.drawn[b[i]])
            for i in parts
        ]
        return DrawnError(*(np.concatenate(numbers) for numbers in zip(*errors, strict=True)))
    whole = paired.whole
    errors = np.concatenate([standard_errors(whole[a[i]] - whole[b[i]]) for i in parts])
    return DrawnError(np.nan_to_num(errors, nan=0.0), np.full(len(a), whole.shape[1] - 1.0))


def tested_together(runs: Sequence[Sequence[Column]], *, headline: bool) -> TestedTogether:
    """All pairs of SAEs within a run on the columns that the report has, or on the others; baselines left out."""
    return shared_discovery_level(
        [
            _of_saes(column)
            for columns in runs
            for column in columns
            if column.spec.headline == headline and column.spec.direction != "neither" and len(column.measured) > 1
        ]
    )


def _of_saes(column: Column) -> Differences:
    differences = differences_of(column)
    if not column.baselines:
        return differences
    of_saes = ~with_baseline(column)
    return Differences(*(numbers[of_saes] for numbers in differences))
