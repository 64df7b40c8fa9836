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
    addends = columns * _batch_lengths(n, schedule.batch_size, positive.device)[:, None]
    state = _AdamColumns.start(width, columns, generator, positive.device)
    probe, probe_gradient = state.solution[:-1], state.gradient[:-1]
    for epoch in range(schedule.epochs):
        rate = _FIRST_RATE * (_LAST_RATE / _FIRST_RATE) ** (epoch / schedule.epochs)
        order = torch.randperm(n, generator=generator).to(positive.device)
        batches = (t.split(schedule.batch_size) for t in (order, targets[order], weights[order] / addends))
        for batch, of_targets, of_weights in zip(*batches, strict=True):
            x = rows(batch)
            pull = torch.addmm(state.solution[-1], x, probe).sigmoid_().sub_(of_targets).mul_(of_weights)
            torch.mm(x.T, pull, out=probe_gradient)
            torch.sum(pull, dim=0, out=state.gradient[-1])
            if schedule.l1:
                probe_gradient.add_(probe.sign(), alpha=schedule.l1 / columns)
            state.step(rate, schedule.weight_decay)
    return ColumnProbes(probe, state.solution[-1])


def _batch_lengths(n: int, batch_size: int, device: torch.device) -> Float[Tensor, " rows"]:
    """How many rows the batch of each of `n` ordered rows has: the last batch may be smaller."""
    lengths = torch.full((n,), float(batch_size), device=device)
    whole = n - n % batch_size
    lengths[whole:] = n - whole
    return lengths


class _AdamColumns:
    """Adam (Kingma & Ba 2015) with its default constants; the biases are the solution's last row."""

    def __init__(self, solution: Float[Tensor, "width_and_bias columns"]) -> None:
        self.solution = solution
        self.gradient = torch.zeros_like(solution)
        self._mean, self._square = torch.zeros_like(solution), torch.zeros_like(solution)
        self._steps = torch.zeros((), device=solution.device)

    @classmethod
    def start(cls, width: int, columns: int, generator: torch.Generator, device: torch.device) -> _AdamColumns:
        """Uniform draws from ± 1 / √width, as `torch.nn.Linear` starts."""
        draws = torch.rand(width + 1, columns, generator=generator)
        return cls(((2 * draws - 1) / width**0.5).to(device))

    def step(self, rate: float, weight_decay: float) -> None:
        """One step against `gradient`, to which the weight decay is added.

        It calls what is beneath `torch.optim.Adam`, which itself would take longer than all the rest of a small step.
        """
        self._steps += 1
        torch._fused_adam_(  # pyright: ignore[reportPrivateImportUsage]
            [self.solution], [self.gradient], [self._mean], [self._square], [], [self._steps],
            lr=rate, beta1=_BETAS[0], beta2=_BETAS[1], eps=_EPSILON, weight_decay=weight_decay,
            amsgrad=False, maximize=False,
        )  # fmt: skip
