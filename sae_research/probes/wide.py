"""Regularised logistic probes on all features: many tasks on one matrix, strength chosen on held-out rows."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sae_research.probes.lbfgs import minimise_columns
from sae_research.probes.row_space import row_space

# The grid of C in C Σ loss + ‖w‖²/2 over standardised features, from a loose fit to a close one.
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)


class WideProbes(NamedTuple):
    """Linear classifiers, one per task, on unscaled features: the task's class where x weights + bias > 0."""

    weights: Float[Tensor, "features tasks"]
    biases: Float[Tensor, " tasks"]
    strengths: Float[Tensor, " tasks"]
    """The C that each task chose."""


def fit_wide(
    x: Float[Tensor, "rows features"],
    positive: Bool[Tensor, "rows tasks"],
    counts: Bool[Tensor, "rows tasks"],
    held_out: Bool[Tensor, " rows"],
    *,
    strengths: tuple[float, ...] = STRENGTHS,
) -> WideProbes:
    """For each task the minimiser of C Σ_i log(1 + exp(-y_i (x_i w + b))) + ‖w‖²/2, y = ±1, over standardised features.

    A task's rows are those where `counts`. C is the one of `strengths` with the lowest mean loss on the task's held-out
    rows after a fit to its other rows; the final fit is to all of its rows. Features are scaled to mean 0 and standard
    deviation 1 over all rows; constant ones get no weight. All tasks and strengths share each pass over `x`.
    """
    scale, mean = torch.std_mean(x, dim=0, correction=0)
    varying = (scale > 1e-6 * x.abs().amax(dim=0)).nonzero().squeeze(1)
    scaled = x[:, varying].sub_(mean[varying]).div_(scale[varying])
    n_tasks = positive.shape[1]
    space = row_space(scaled)
    rows = scaled if space is None else space.rows
    targets = positive.to(rows.dtype)
    if len(strengths) == 1:
        chosen, start = torch.zeros(n_tasks, dtype=torch.long, device=x.device), None
    else:
        chosen, start = _choose(rows, targets, counts, held_out, strengths)
    c = torch.tensor(strengths, dtype=rows.dtype, device=x.device)[chosen]
    solution = minimise_columns(rows, targets, counts * c, start)
    on_scaled = solution.weights if space is None else space.lift(solution.weights)
    on_varying = on_scaled / scale[varying, None]
    weights = x.new_zeros(x.shape[1], n_tasks).index_copy_(0, varying, on_varying)
    return WideProbes(weights, solution.biases - mean[varying] @ on_varying, c)


def _choose(
    x: Tensor, targets: Tensor, counts: Tensor, held_out: Tensor, strengths: tuple[float, ...]
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """The index of each task's strength, and its solution, where the final fit starts."""
    n_tasks, n = targets.shape[1], len(strengths)
    fitted = (counts & ~held_out[:, None]).to(x.dtype)
    # Columns run over tasks within strengths.
    weights = torch.cat([fitted * c for c in strengths], dim=1)
    solutions = minimise_columns(x, targets.repeat(1, n), weights)
    scores = x @ solutions.weights + solutions.biases
    losses = torch.nn.functional.softplus(scores) - targets.repeat(1, n) * scores
    validation = (counts & held_out[:, None]).double().repeat(1, n)
    mean_loss = (validation * losses.double()).sum(dim=0) / validation.sum(dim=0)
    chosen = mean_loss.view(n, n_tasks).argmin(dim=0)
    columns = chosen * n_tasks + torch.arange(n_tasks, device=x.device)
    return chosen, (solutions.weights[:, columns], solutions.biases[columns])


def predict_wide(probes: WideProbes, x: Float[Tensor, "rows features"]) -> Bool[Tensor, "rows tasks"]:
    """Which rows each probe assigns to its class."""
    return x @ probes.weights + probes.biases > 0
