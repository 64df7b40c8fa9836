"""The record of what was measured: typed, explicit about what is missing, independent of torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Direction = Literal["higher", "lower", "neither"]

NOT_FOR_TOKENS = "not applicable to token-scope SAEs"
"""The reason of a number that only an SAE whose tokens share a support can have; reports need not list who lacks it."""


@dataclass(frozen=True)
class MetricSpec:
    """What a metric is: where SAEBench's schema puts it, its unit, and which way is better."""

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
    """Whether it stands in the report's table, in the summary, and gets a picture."""


@dataclass(frozen=True)
class Measurement:
    """One number, or the reason why there is none."""

    metric: str
    value: float | None
    reason: str | None = None
    """Why `value` is None; None otherwise."""
    ci_low: float | None = None
    ci_high: float | None = None
    at: Mapping[str, int | float | str] = field(default_factory=dict)
    """Where the metric was taken, e.g. {"k": 5} or {"dataset": "embedded/bios"}."""
    replicates: tuple[float, ...] = ()
    """The value without one group of test units, for each group; the groups are the same for all SAEs."""


def measured(
    metric: str,
    estimate: tuple[float, float | None, float | None, tuple[float, ...]],
    at: Mapping[str, int | float | str] | None = None,
) -> Measurement:
    """The measurement of `metric` that an `Estimate` makes: value, ends of its interval, replicates."""
    value, low, high, replicates = estimate
    return Measurement(metric, value, ci_low=low, ci_high=high, at=dict(at or {}), replicates=replicates)


@dataclass(frozen=True)
class EvalOutput:
    """What one eval found for one SAE."""

    measurements: tuple[Measurement, ...]
    details: Sequence[Mapping[str, Any]] = ()
    """SAEBench's `eval_result_details`."""
    unstructured: Mapping[str, Any] = field(default_factory=dict)
    """SAEBench's `eval_result_unstructured`."""


@dataclass(frozen=True)
class Result:
    """One finished cell: an SAE, an eval, all that determined the numbers, and the numbers."""

    key: str
    eval_name: str
    sae: Mapping[str, Any]
    """The SAE's manifest entry: name, architecture, label, hook_name, d_in, d_sae, hyperparameters, digest, ..."""
    settings: Mapping[str, Any]
    """The eval's settings, defaults filled in."""
    key_parts: Mapping[str, Any]
    """What `key` is the digest of."""
    output: EvalOutput
    versions: Mapping[str, str] = field(default_factory=dict)
    """Library versions at the time: provenance, not part of the key."""
