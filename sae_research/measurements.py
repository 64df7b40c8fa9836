"""Records of measurements: typed, explicit about missing values, independent of torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

Direction = Literal["higher", "lower", "neither"]

NOT_FOR_TOKENS = "not applicable: its codes are not fitted on a support"
"""Reason for metrics that exist only for sequence-scope SAEs; reports do not list the SAEs without them."""


@dataclass(frozen=True)
class MetricSpec:
    """A metric: its place in SAEBench's schema, its unit, and whether higher or lower is better."""

    name: str
    """Our name, the `metric` column of the table."""
    category: str
    """SAEBench's category in `eval_result_metrics`."""
    unit: str
    direction: Direction
    title: str
    """Axis label."""
    key: str | None = None
    """SAEBench's key in the category, with `{placeholders}` filled from `Measurement.at`; None: not in its schema."""
    headline: bool = False
    """Whether the report's table and the summary show it, and it gets a figure."""


@dataclass(frozen=True)
class Measurement:
    """One number, or the reason why it is missing."""

    metric: str
    value: float | None
    reason: str | None = None
    """Why `value` is None; None otherwise."""
    ci_low: float | None = None
    ci_high: float | None = None
    at: Mapping[str, int | float | str] = field(default_factory=dict)
    """The place of the measurement, e.g. {"k": 5} or {"dataset": "embedded/bios"}."""
    replicates: tuple[float, ...] = ()
    """The value without one group of test units, for each group; all SAEs have the same groups."""


def measured(
    metric: str,
    estimate: tuple[float, float | None, float | None, tuple[float, ...]],
    at: Mapping[str, int | float | str] | None = None,
) -> Measurement:
    """An `Estimate` (value, ends of its interval, replicates) as the measurement of `metric`."""
    value, low, high, replicates = estimate
    return Measurement(metric, value, ci_low=low, ci_high=high, at=dict(at or {}), replicates=replicates)


@dataclass(frozen=True, eq=False)
class Table:
    """Typed columns with a row per latent. As JSON, the ten numbers of a latent would take 475 bytes."""

    columns: Mapping[str, np.ndarray]
    """Of equal length: numbers (NaN is missing), several numbers a row (2-D), or texts (of dtype object)."""

    def __post_init__(self) -> None:
        lengths = {name: len(column) for name, column in self.columns.items()}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"a table's columns have one length, got {lengths}")

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[name]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Table) and self.digest() == other.digest()

    def __hash__(self) -> int:
        return hash(self.digest())

    def digest(self) -> str:
        """The SHA-256 of names, types and values, whatever file holds them."""
        hashed = hashlib.sha256()
        for name, column in sorted(self.columns.items()):
            hashed.update(f"{name} {column.dtype.str} {column.shape}\n".encode())
            texts = column.dtype == object
            hashed.update(repr(column.tolist()).encode() if texts else np.ascontiguousarray(column).tobytes())
        return hashed.hexdigest()


@dataclass(frozen=True)
class LatentNote:
    """What an eval says of a latent that it singles out: a text, a value, or both."""

    latent: int
    name: str
    """What kind of note: `best for a class`, `explanation`."""
    text: str | None = None
    value: float | None = None
    low: float | None = None
    """The 95 % interval; None where there is none."""
    high: float | None = None
    reason: str | None = None
    """Why the value is missing, where one was to be expected."""
    at: Mapping[str, int | float | str] = field(default_factory=dict)
    """What it is for, by the names that places have in `Measurement.at`: `{"letter": "a"}`."""


@dataclass(frozen=True)
class EvalOutput:
    """What one eval measured for one SAE."""

    measurements: tuple[Measurement, ...]
    details: Sequence[Mapping[str, Any]] = ()
    """SAEBench's `eval_result_details`, but for those that are a table."""
    unstructured: Mapping[str, Any] = field(default_factory=dict)
    """SAEBench's `eval_result_unstructured`."""
    tables: Mapping[str, Table] = field(default_factory=dict)
    """By name; kept as Parquet files beside the document."""
    judge: Mapping[str, Any] = field(default_factory=dict)
    """Of an eval that asks a judge: who judged, what was asked, and the answers by digest."""


@dataclass(frozen=True)
class Result:
    """One finished cell: an SAE, an eval, everything that determined the numbers, and the numbers."""

    key: str
    eval_name: str
    sae: Mapping[str, Any]
    """The SAE's manifest entry: name, architecture, label, hook_name, d_in, d_sae, hyperparameters, digest, ..."""
    settings: Mapping[str, Any]
    """The eval's settings, with defaults filled in."""
    key_parts: Mapping[str, Any]
    """What `key` is the digest of."""
    output: EvalOutput
    versions: Mapping[str, str] = field(default_factory=dict)
    """Library versions at that time, for provenance; not part of the key."""
