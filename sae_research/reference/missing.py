"""What to say of numbers that we report and SAEBench does not."""

from __future__ import annotations

from collections.abc import Mapping

from sae_research.results.record import Measurement

NOT_COMPUTED = "not computed by sae_bench"


def not_computed(metric: str, at: Mapping[str, int | float | str] | None = None) -> Measurement:
    """The metric without a value."""
    return Measurement(metric, None, reason=NOT_COMPUTED, at=dict(at or {}))
