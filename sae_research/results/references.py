"""What an SAE's metric is compared with, as the evals declare it: the language model by itself, or baselines such as
directions from other methods."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from sae_research.evals.base import Baseline
from sae_research.evals.registry import all_evals


@cache
def references() -> Mapping[str, tuple[str, ...]]:
    """By an SAE's metric, the metrics to compare it with, at the same place or at the only one; they need no SAE."""
    return {metric: others for evaluated in all_evals() for metric, others in evaluated.references.items()}


@cache
def baselines() -> Mapping[str, Baseline]:
    """What a reference's place `baseline` can be, in the order of legends."""
    return {name: baseline for evaluated in all_evals() for name, baseline in evaluated.baselines.items()}


@cache
def compared_with() -> Mapping[str, tuple[str, ...]]:
    """By a reference, the SAEs' metrics that it is for."""
    metrics: dict[str, tuple[str, ...]] = {}
    for metric, others in references().items():
        for other in others:
            metrics[other] = (*metrics.get(other, ()), metric)
    return metrics


def baseline_name(baseline: str, site: str | None, *, of_many_sites: bool) -> str:
    """What tables call a baseline, next to the names of SAEs; `site` is its hook name."""
    return f"baseline:{baseline} at {site}" if of_many_sites else f"baseline:{baseline}"


def is_least(baseline: str, metric: str | None) -> bool:
    """Whether an SAE that learned anything is above this baseline on the metric."""
    return baseline in baselines() and metric in baselines()[baseline].least_for
