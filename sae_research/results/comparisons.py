"""Every SAE against every other on every metric: the difference, its interval, and whether it excludes 0."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from sae_research.metrics.intervals import half_widths, mean_half_widths
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
    """Whether the 95 % interval leaves out 0; None without an interval. Not corrected for the number of comparisons."""
    better: str | None
    """The SAE with the better number, if the two are distinguishable."""
    method: Method
    """`paired`: both on the same sequences or examples. `unpaired`: from the two intervals as if they were independent,
    which is wider than necessary. `none`: one of the numbers has no interval."""


def compare_saes(entries: Sequence[Entry]) -> list[Comparison]:
    """All pairs of SAEs that were computed here, on every column of the table with a direction.

    The language model's own numbers are left out. Paired intervals come from a delete-a-group jackknife over the
    units that both SAEs were measured on; where examples were drawn with several seeds, Student's half width of the
    mean difference over seeds is added in quadrature.
    """
    columns = columns_by_name(entries).values()
    return [pair for column in columns if column.spec.direction != "neither" for pair in _compare(column)]


class _Intervals(NamedTuple):
    """The intervals of all pairs' differences."""

    below: np.ndarray
    """Distances from the differences to the lower ends, NaN where there is none."""
    above: np.ndarray
    paired: np.ndarray


def _compare(column: Column) -> Iterator[Comparison]:
    saes = list(column.measured)
    if len(saes) < 2:
        return
    values = np.array([float(m.value or 0.0) for m in column.measured.values()])
    a, b = np.triu_indices(len(saes), k=1)
    difference = values[a] - values[b]
    intervals = _with_seeds(_intervals(column, values, a, b), column, a, b)
    for i, (first, second) in enumerate(zip(a, b, strict=True)):
        yield _comparison(
            column,
            (saes[first], saes[second]),
            float(difference[i]),
            (float(intervals.below[i]), float(intervals.above[i])),
            paired=bool(intervals.paired[i]),
        )


def _intervals(column: Column, values: np.ndarray, a: np.ndarray, b: np.ndarray) -> _Intervals:
    """Paired where both have replicates over the same groups, from the two intervals otherwise."""
    measured = list(column.measured.values())
    low, high = (
        np.array([np.nan if e is None else e for e in ends])
        for ends in zip(*((m.ci_low, m.ci_high) for m in measured), strict=True)
    )
    # MOVER: the lower end of a difference of independent estimates comes from a's lower and b's upper end.
    down, up = values - low, high - values
    below, above = np.hypot(down[a], up[b]), np.hypot(up[a], down[b])
    counts = Counter(len(m.replicates) for m in measured if m.replicates)
    groups = counts.most_common(1)[0][0] if counts else 0
    whole = np.array([len(m.replicates) == groups > 0 for m in measured])
    paired = whole[a] & whole[b]
    if paired.any():
        replicates = np.array(
            [m.replicates if usable else (0.0,) * groups for m, usable in zip(measured, whole, strict=True)]
        )
        half = half_widths(replicates[a] - replicates[b])
        below, above = np.where(paired, half, below), np.where(paired, half, above)
    return _Intervals(below, above, paired)


def _with_seeds(intervals: _Intervals, column: Column, a: np.ndarray, b: np.ndarray) -> _Intervals:
    """The intervals widened by the spread of the paired differences over the seeds that all SAEs share."""
    shared = column.seeds_of(list(column.measured))
    if len(shared) < 2:
        return intervals
    values = np.array([[column.seeds[sae][seed] for seed in shared] for sae in column.measured])
    extra = mean_half_widths(values[a] - values[b])
    # The intervals behind an unpaired one cover the seeds already.
    below, above = (
        np.where(intervals.paired, np.hypot(distances, extra), distances)
        for distances in (intervals.below, intervals.above)
    )
    return _Intervals(below, above, intervals.paired)


def _comparison(
    column: Column,
    saes: tuple[str, str],
    difference: float,
    distances: tuple[float, float],
    *,
    paired: bool,
) -> Comparison:
    low, high = difference - distances[0], difference + distances[1]
    known = bool(np.isfinite(distances).all())
    apart = known and (low > 0 or high < 0)
    higher_is_better = column.spec.direction == "higher"
    return Comparison(
        eval=column.eval,
        metric=column.spec.name,
        at=column.at,
        column=column.name,
        direction=column.spec.direction,
        sae_a=saes[0],
        sae_b=saes[1],
        difference=rounded(difference),
        ci_low=rounded(low) if known else None,
        ci_high=rounded(high) if known else None,
        distinguishable=apart if known else None,
        better=saes[0 if (difference > 0) == higher_is_better else 1] if apart else None,
        method="paired" if paired else "unpaired" if known else "none",
    )


def rivals(comparisons: Sequence[Comparison]) -> Mapping[tuple[str, str, str], dict[str, bool | None]]:
    """By eval, column and SAE: whether each other SAE is distinguishable from it."""
    verdicts: dict[tuple[str, str, str], dict[str, bool | None]] = {}
    for pair in comparisons:
        for sae, other in ((pair.sae_a, pair.sae_b), (pair.sae_b, pair.sae_a)):
            verdicts.setdefault((pair.eval, pair.column, sae), {})[other] = pair.distinguishable
    return verdicts
