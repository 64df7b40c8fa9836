"""SAEBench's linear probes on mean activations: its draws from torch's generator, its optimiser, its choice of epoch.

Many probes train in parallel; each sees its rows in the order in which SAEBench would show them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class DrawnRows(NamedTuple):
    """The rows of a binary task in the order in which a probe sees them."""

    rows: Int[Tensor, " rows"]
    positive: Bool[Tensor, " rows"]


@dataclass(frozen=True)
class SaeBenchRecipe:
    """How SAEBench trains its probes for SCR and TPP."""

    epochs: int = 20
    batch_size: int = 16
    rate: float = 1e-3
    l1: float = 1e-3
    decay: float = 0.01
    """AdamW's default."""


class SaeBenchStart(NamedTuple):
    """The random choices for a probe before its training."""

    train: DrawnRows
    test: DrawnRows
    weight: Float[Tensor, " d"]
    bias: Float[Tensor, ""]
    orders: Int[Tensor, "epochs rows"]
    """The order of the training rows in each epoch."""


class LinearProbes(NamedTuple):
    """Linear classifiers: class 1 where x weights + bias > 0."""

    weights: Float[Tensor, "probes d"]
    biases: Float[Tensor, " probes"]

    def logits(self, x: Float[Tensor, "rows d"]) -> Float[Tensor, "rows probes"]:
        """The score of every row under every probe, in float64."""
        return x.double() @ self.weights.double().T + self.biases.double()


def draw_two_sides(positives: Tensor, negatives: Tensor, generator: torch.Generator) -> DrawnRows:
    """All `positives` and equally many of `negatives`, shuffled: the last steps of SAEBench's `prepare_probe_data`.

    SAEBench takes its permutations from torch's global generator; a `generator` with the same seed replaces it.
    """
    drawn = negatives[torch.randperm(len(negatives), generator=generator)[: len(positives)]]
    rows = torch.cat([positives, drawn])
    order = torch.randperm(len(rows), generator=generator)
    return DrawnRows(rows[order], order < len(positives))


def draw_one_against_rest(classes: Mapping[str, Tensor], positive: str, generator: torch.Generator) -> DrawnRows:
    """`prepare_probe_data` for one class: `classes` are the rows of each, in SAEBench's order."""
    positives = classes[positive]
    others = [rows for name, rows in classes.items() if name != positive]
    n_each = math.ceil(len(positives) / len(others))
    drawn = [rows[torch.randperm(len(rows), generator=generator)[:n_each]] for rows in others]
    return draw_two_sides(positives, torch.cat(drawn), generator)


def draw_start(
    train: DrawnRows, test: DrawnRows, d: int, recipe: SaeBenchRecipe, generator: torch.Generator
) -> SaeBenchStart:
    """The initial values of a `torch.nn.Linear(d, 1)`, then a permutation of the training rows for each epoch."""
    weight = torch.empty(1, d)
    torch.nn.init.kaiming_uniform_(weight, a=math.sqrt(5), generator=generator)
    bias = torch.empty(1).uniform_(-1 / math.sqrt(d), 1 / math.sqrt(d), generator=generator)
    orders = [torch.randperm(len(train.rows), generator=generator) for _ in range(recipe.epochs)]
    return SaeBenchStart(train, test, weight[0], bias[0], torch.stack(orders))


def fit_as_sae_bench(
    train: Float[Tensor, "train_rows d"],
    test: Float[Tensor, "test_rows d"],
    starts: Sequence[SaeBenchStart],
    recipe: SaeBenchRecipe,
) -> LinearProbes:
    """Each start's probe after the first epoch with its best accuracy on the test rows; all see equally many rows.

    AdamW on the mean logistic loss + l1 Σ|w|, with the steps of `torch.optim.AdamW`.
    """
    train_rows = _stacked([start.train for start in starts], train)
    test_rows = _stacked([start.test for start in starts], test)
    state = _AdamW(
        torch.stack([start.weight for start in starts]), torch.stack([start.bias for start in starts]), train
    )
    best, highest = state.solution.clone(), torch.zeros(len(starts), device=train.device)
    for epoch in range(recipe.epochs):
        orders = torch.stack([start.orders[epoch] for start in starts]).to(train.device)
        for batch in orders.split(recipe.batch_size, dim=1):
            rows = train_rows.rows.gather(1, batch)
            state.step(train[rows], train_rows.positive.gather(1, batch), recipe)
        hits = (state.logits(test[test_rows.rows]) > 0) == test_rows.positive
        accuracy = hits.float().mean(dim=1)
        better = accuracy > highest
        highest = torch.where(better, accuracy, highest)
        best = torch.where(better[:, None], state.solution, best)
    return LinearProbes(best[:, :-1], best[:, -1])


def _stacked(drawn: Sequence[DrawnRows], x: Tensor) -> DrawnRows:
    rows, positive = (torch.stack(parts).to(x.device) for parts in zip(*drawn, strict=True))
    return DrawnRows(rows, positive)


class _AdamW:
    """Probes in training; the bias is the last entry of `solution`."""

    def __init__(self, weights: Tensor, biases: Tensor, like: Tensor) -> None:
        self.solution = torch.cat([weights, biases[:, None]], dim=1).to(like)
        self._mean, self._square = torch.zeros_like(self.solution), torch.zeros_like(self.solution)
        self._steps = 0

    def logits(self, x: Float[Tensor, "probes rows d"]) -> Float[Tensor, "probes rows"]:
        return torch.bmm(x, self.solution[:, :-1, None]).squeeze(2) + self.solution[:, -1:]

    def step(
        self, x: Float[Tensor, "probes rows d"], positive: Bool[Tensor, "probes rows"], recipe: SaeBenchRecipe
    ) -> None:
        pull = (torch.sigmoid(self.logits(x)) - positive.to(x.dtype)) / x.shape[1]
        slope = torch.bmm(pull[:, None], x).squeeze(1) + recipe.l1 * self.solution[:, :-1].sign()
        gradient = torch.cat([slope, pull.sum(dim=1, keepdim=True)], dim=1)
        self._steps += 1
        self.solution.mul_(1 - recipe.rate * recipe.decay)
        self._mean.lerp_(gradient, 1 - 0.9)
        self._square.mul_(0.999).addcmul_(gradient, gradient, value=1 - 0.999)
        scale = (self._square.sqrt() / math.sqrt(1 - 0.999**self._steps)).add_(1e-8)
        self.solution.addcdiv_(self._mean, scale, value=-recipe.rate / (1 - 0.9**self._steps))
