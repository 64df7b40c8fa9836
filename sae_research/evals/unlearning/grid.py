"""The grid of interventions, and the latents that each clamps."""

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
    """The sets of latents that one SAE's grid clamps; equal sets are stored once."""

    latents: Int[Tensor, " union"]
    """The latents in any set."""
    sets: Bool[Tensor, "set union"]
    """Which of them belong to each distinct set."""
    set_of: Mapping[tuple[float, int], int]
    """The index of the set, by retain threshold and number of latents."""


def choose_latents(
    forget: Float[Tensor, " d_sae"],
    retain: Float[Tensor, " d_sae"],
    *,
    thresholds: Sequence[float],
    numbers: Sequence[int],
) -> ChosenLatents:
    """For each threshold and number: the latents that fire most on forget tokens, among those that fire on less than
    the threshold's share of retain tokens. Ties go to the lower index; latents that never fire on forget tokens are in
    no set."""
    chosen: dict[tuple[float, int], tuple[int, ...]] = {}
    for threshold in thresholds:
        rates = torch.where(retain < threshold, forget, torch.zeros_like(forget))
        ranked = rates.argsort(descending=True, stable=True)[: int((rates > 0).sum())].tolist()
        chosen |= {(threshold, n): tuple(sorted(ranked[:n])) for n in numbers}
    distinct = list(dict.fromkeys(chosen.values()))
    union = torch.tensor(sorted({i for latents in distinct for i in latents}), dtype=torch.long, device=forget.device)
    members = [torch.isin(union, torch.tensor(latents, dtype=torch.long, device=union.device)) for latents in distinct]
    return ChosenLatents(union, torch.stack(members), {key: distinct.index(latents) for key, latents in chosen.items()})
