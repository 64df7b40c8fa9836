"""What there is to hold an SAE's metric against, as the evals declare it: the language model by itself, directions
found without an SAE."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from sae_research.evals.registry import all_evals


@cache
def references() -> Mapping[str, tuple[str, ...]]:
    """By an SAE's metric, those that need no SAE, at the same place or at the only one."""
    return {metric: others for evaluated in all_evals() for metric, others in evaluated.references.items()}


@cache
def baseline_titles() -> Mapping[str, str]:
    """What the value of a reference's place `baseline` means, in the order of legends."""
    titles = [evaluated.place_titles.get("baseline", {}) for evaluated in all_evals()]
    return {value: title for known in titles for value, title in known.items()}
