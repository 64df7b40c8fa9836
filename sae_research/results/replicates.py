"""What paired comparisons are computed from, on disk: each number that has a better and a worse, with its replicates.

`comparisons.csv` grows with the square of the SAEs, this table with the SAEs; any pair can be computed from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sae_research.measurements import Direction, Measurement, MetricSpec
from sae_research.results.columns import Column
from sae_research.results.rows import read_records

REPLICATES_FILE = "replicates.parquet"
"""The table's name in `eval_results/merged/`."""


@dataclass(frozen=True)
class Replicated:
    """One number of an SAE or a baseline, with what it is without each group of test units."""

    eval: str
    column: str
    """As in the table of results."""
    metric: str
    at: str
    title: str
    unit: str
    direction: Direction
    """Which way is better: higher or lower."""
    headline: bool
    name: str
    """The SAE, or the baseline."""
    is_baseline: bool
    seed: str | None
    """Of a number under one of several seeds; None for the number that tables show."""
    value: float
    ci_low: float | None
    ci_high: float | None
    replicates: tuple[float, ...]
    """The value without one group of test units, for each group; all SAEs have the same groups."""


def replicated_numbers(columns: Iterable[Column]) -> list[Replicated]:
    """Those of all columns with a direction, in their order."""
    return [number for column in columns if column.spec.direction != "neither" for number in _of_column(column)]


def _of_column(column: Column) -> Iterator[Replicated]:
    for name, measurement in column.everyone.items():
        yield _replicated(column, name, None, measurement)
        for seed, value in column.seeds.get(name, {}).items():
            drawn = Measurement(column.spec.name, value, replicates=column.seed_replicates[name][seed])
            yield _replicated(column, name, str(seed), drawn)


def _replicated(column: Column, name: str, seed: str | None, measurement: Measurement) -> Replicated:
    assert measurement.value is not None
    return Replicated(
        eval=column.eval,
        column=column.name,
        metric=column.spec.name,
        at=column.at,
        title=column.spec.title,
        unit=column.spec.unit,
        direction=column.spec.direction,
        headline=column.spec.headline,
        name=name,
        is_baseline=name in column.baselines,
        seed=seed,
        value=measurement.value,
        ci_low=measurement.ci_low,
        ci_high=measurement.ci_high,
        replicates=tuple(measurement.replicates),
    )


def read_replicates(folder: Path) -> list[Replicated]:
    """The numbers in the folder `eval_results/merged/`."""
    return read_records(folder / REPLICATES_FILE, Replicated)


def columns_of(numbers: Sequence[Replicated]) -> Mapping[tuple[str, str], Column]:
    """The columns that these numbers were of, by eval and name; a spec has no more than `Replicated` says of it."""
    columns: dict[tuple[str, str], Column] = {}
    for number in numbers:
        spec = MetricSpec(number.metric, "", number.unit, number.direction, number.title, headline=number.headline)
        new = Column(number.eval, number.column, spec, number.at)
        column = columns.setdefault((number.eval, number.column), new)
        if number.seed is not None:
            column.seeds.setdefault(number.name, {})[number.seed] = number.value
            column.seed_replicates.setdefault(number.name, {})[number.seed] = number.replicates
        else:
            measurement = Measurement(
                number.metric, number.value, None, number.ci_low, number.ci_high, replicates=number.replicates
            )
            (column.baselines if number.is_baseline else column.measured)[number.name] = measurement
    return columns
