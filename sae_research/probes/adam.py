"""One-against-rest linear probes trained by Adam for a fixed number of steps, as SAEBench trains those of absorption.

The objective is convex, but where this training ends is not its minimum: with SAEBench's schedule weights can move by
little, which keeps latents that fire on a few words from the top of the ranking. The minimiser ranks other latents
(docs/parity.md), so the schedule is part of the definition.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from sae_research.probes.lbfgs import Columns

_FIRST_RATE, _LAST_RATE = 1e-2, 1e-5


@dataclass(frozen=True)
class Schedule:
    """How a probe is trained; the learning rate falls from 1e-2 by the same factor each epoch, towards 1e-5."""

    batch_size: int
    epochs: int
    weight_decay: float
    """Added to the gradient, times the weight or bias."""
    l1: float = 0.0
    """Weight of the mean over columns of the sum of absolute weights."""


def train_columns(
    rows: Callable[[Tensor], Tensor],
    positive: Bool[Tensor, "rows columns"],
    schedule: Schedule,
    *,
    width: int,
    generator: torch.Generator,
) -> Columns:
    """Linear probes, one per column, whose loss is the mean over rows and columns of the logistic loss.

    A positive counts as often as the column has negatives per positive. `rows` gives the (dense) rows of the indices it
    is handed; `generator`, on the CPU, draws the start and the order of rows in each epoch, and nothing else.
    """
    n, columns = positive.shape
    targets = positive.float()
    found = targets.sum(dim=0)
    weights = torch.where(positive, (n - found) / found.clamp(min=1), 1.0)
    parameters = [_uniform((width, columns), width, generator), _uniform((columns,), width, generator)]
    probe, bias = (parameter.to(positive.device) for parameter in parameters)
    optimizer = torch.optim.Adam([probe, bias], lr=_FIRST_RATE, weight_decay=schedule.weight_decay, fused=True)
    decay = (_LAST_RATE / _FIRST_RATE) ** (1 / schedule.epochs)
    for epoch in range(schedule.epochs):
        optimizer.param_groups[0]["lr"] = _FIRST_RATE * decay**epoch
        for batch in torch.randperm(n, generator=generator).to(positive.device).split(schedule.batch_size):
            x = rows(batch)
            scores = torch.addmm(bias, x, probe)
            pull = (scores.sigmoid_() - targets[batch]) * weights[batch] / scores.numel()
            probe.grad = torch.addmm(probe.sign(), x.T, pull, beta=schedule.l1 / columns)
            bias.grad = pull.sum(dim=0)
            optimizer.step()
    return Columns(probe, bias)


def _uniform(shape: tuple[int, ...], width: int, generator: torch.Generator) -> Tensor:
    """Draws between ± 1 / √width: how `torch.nn.Linear` starts."""
    return (2 * torch.rand(shape, generator=generator) - 1) / width**0.5
