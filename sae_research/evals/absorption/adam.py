"""One-against-rest linear probes trained by Adam for a fixed number of steps, as SAEBench trains those of absorption.

The objective is convex, but this training does not reach its minimum: with SAEBench's schedule weights move little,
which keeps latents that fire on a few words from the top of the ranking. The minimiser ranks other latents
(docs/parity.md), so the schedule is part of the definition.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sae_research.probes.lbfgs import ColumnProbes

_FIRST_RATE, _LAST_RATE = 1e-2, 1e-5
_BETAS = (0.9, 0.999)
_EPSILON = 1e-8


@dataclass(frozen=True)
class Schedule:
    """How a probe is trained; each epoch lowers the learning rate by the same factor, from 1e-2 towards 1e-5."""

    batch_size: int
    epochs: int
    weight_decay: float
    """Factor of the weight or bias that is added to its gradient."""
    l1: float = 0.0
    """Factor of the L1 penalty: the mean over columns of the sum of absolute weights."""


def train_columns(
    rows: Callable[[Tensor], Tensor],
    positive: Bool[Tensor, "rows columns"],
    schedule: Schedule,
    *,
    width: int,
    generator: torch.Generator,
) -> ColumnProbes:
    """Linear probes, one per column, trained on the mean logistic loss over rows and columns.

    A positive is weighted by the column's negatives per positive. `rows` returns the (dense) rows of given indices;
    `generator`, on the CPU, draws the start and the order of rows in each epoch, and nothing else.
    """
    n, columns = positive.shape
    targets = positive.float()
    n_positive = targets.sum(dim=0)
    weights = torch.where(positive, (n - n_positive) / n_positive.clamp(min=1), 1.0)
    state = _AdamColumns.start(width, columns, generator, positive.device)
    for epoch in range(schedule.epochs):
        rate = _FIRST_RATE * (_LAST_RATE / _FIRST_RATE) ** (epoch / schedule.epochs)
        for batch in torch.randperm(n, generator=generator).to(positive.device).split(schedule.batch_size):
            x, probe = rows(batch), state.solution[:-1]
            shares = torch.addmm(state.solution[-1], x, probe).sigmoid_()
            pull = shares.sub_(targets[batch]).mul_(weights[batch]).div_(shares.numel())
            torch.mm(x.T, pull, out=state.gradient[:-1])
            torch.sum(pull, dim=0, out=state.gradient[-1])
            if schedule.l1:
                state.gradient[:-1].add_(probe.sign(), alpha=schedule.l1 / columns)
            state.step(rate, schedule.weight_decay)
    return ColumnProbes(state.solution[:-1], state.solution[-1])


class _AdamColumns:
    """Adam (Kingma & Ba 2015) with its default constants; the biases are the solution's last row."""

    def __init__(self, solution: Float[Tensor, "width_and_bias columns"]) -> None:
        self.solution = solution
        self.gradient = torch.zeros_like(solution)
        self._mean, self._square = torch.zeros_like(solution), torch.zeros_like(solution)
        self._steps = 0

    @classmethod
    def start(cls, width: int, columns: int, generator: torch.Generator, device: torch.device) -> _AdamColumns:
        """Uniform draws from ± 1 / √width, as `torch.nn.Linear` starts."""
        draws = torch.rand(width + 1, columns, generator=generator)
        return cls(((2 * draws - 1) / width**0.5).to(device))

    def step(self, rate: float, weight_decay: float) -> None:
        """One step against `gradient`, to which the weight decay is added."""
        self._steps += 1
        gradient = self.gradient.add_(self.solution, alpha=weight_decay)
        self._mean.lerp_(gradient, 1 - _BETAS[0])
        self._square.mul_(_BETAS[1]).addcmul_(gradient, gradient, value=1 - _BETAS[1])
        unbiased = 1 - _BETAS[0] ** self._steps, 1 - _BETAS[1] ** self._steps
        scale = self._square.sqrt().div_(unbiased[1] ** 0.5).add_(_EPSILON)
        self.solution.addcdiv_(self._mean, scale, value=-rate / unbiased[0])
