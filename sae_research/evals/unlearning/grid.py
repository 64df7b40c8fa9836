"""Which latents an intervention clamps, and which interventions there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class Clamp(NamedTuple):
    """One intervention of the grid."""

    retain_threshold: float
    n: int
    multiplier: int


class ChosenLatents(NamedTuple):
    """The sets of latents that one SAE's grid clamps; interventions that share a set share its number."""

    latents: Int[Tensor, " union"]
    """All latents of any set."""
    sets: Bool[Tensor, "set union"]
    """Which of them each distinct set holds."""
    set_of: Mapping[tuple[float, int], int]
    """The set of each retain threshold and number of latents."""


def choose_latents(
    forget: Float[Tensor, " d_sae"],
    retain: Float[Tensor, " d_sae"],
    *,
    thresholds: Sequence[float],
    numbers: Sequence[int],
) -> ChosenLatents:
    """Of the latents that fire on less than a threshold's share of the retain tokens, those that fire most on the
    forget tokens; equal ones in order of latents, those that never fire there in no set."""
    chosen: dict[tuple[float, int], tuple[int, ...]] = {}
    for threshold in thresholds:
        rates = torch.where(retain < threshold, forget, torch.zeros_like(forget))
        ranked = rates.argsort(descending=True, stable=True)[: int((rates > 0).sum())].tolist()
        chosen |= {(threshold, n): tuple(sorted(ranked[:n])) for n in numbers}
    distinct = list(dict.fromkeys(chosen.values()))
    union = torch.tensor(sorted({latent for own in distinct for latent in own}), dtype=torch.long, device=forget.device)
    members = [torch.isin(union, torch.tensor(own, dtype=torch.long, device=union.device)) for own in distinct]
    return ChosenLatents(union, torch.stack(members), {key: distinct.index(own) for key, own in chosen.items()})
