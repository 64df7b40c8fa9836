"""What an SAE's metric is compared with, as the evals declare it: the language model by itself, or directions from
other methods."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from sae_research.evals.registry import all_evals


@cache
def references() -> Mapping[str, tuple[str, ...]]:
    """By an SAE's metric, the metrics to compare it with, at the same place or at the only one; they need no SAE."""
    return {metric: others for evaluated in all_evals() for metric, others in evaluated.references.items()}


@cache
def baseline_titles() -> Mapping[str, str]:
    """What the value of a reference's place `baseline` means, in the order of legends."""
    titles = [evaluated.place_titles.get("baseline", {}) for evaluated in all_evals()]
    return {value: title for known in titles for value, title in known.items()}
