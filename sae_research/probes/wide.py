"""Regularised logistic probes on all features at once: many tasks on one matrix, strength chosen on held-out rows."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sae_research.probes.lbfgs import minimise_columns
from sae_research.probes.row_space import row_space

# The grid of C in C Σ loss + ‖w‖²/2 over standardised features, from hardly any to strong fitting.
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)


class WideProbes(NamedTuple):
    """Linear classifiers, one per task, on the features as given: the task's class where x weights + bias > 0."""

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

    A task's rows are those where `counts`. C is the one of `strengths` with the least mean loss on the held-out
    rows of the task after fitting the rest; with it all of the task's rows are fitted. Features get mean 0 and standard
    deviation 1 over all rows; constant ones no weight. All tasks and strengths share each pass over `x`.
    """
    scale, mean = torch.std_mean(x, dim=0, correction=0)
    kept = (scale > 1e-6 * x.abs().amax(dim=0)).nonzero().squeeze(1)
    scaled = x[:, kept].sub_(mean[kept]).div_(scale[kept])
    n_tasks = positive.shape[1]
    space = row_space(scaled)
    rows = scaled if space is None else space.rows
    targets = positive.to(rows.dtype)
    if len(strengths) == 1:
        chosen, start = torch.zeros(n_tasks, dtype=torch.long, device=x.device), None
    else:
        chosen, start = _choose(rows, targets, counts, held_out, strengths)
    c = torch.tensor(strengths, dtype=rows.dtype, device=x.device)[chosen]
    found = minimise_columns(rows, targets, counts * c, start)
    fitted = found.weights if space is None else space.lift(found.weights)
    own = fitted / scale[kept, None]
    weights = x.new_zeros(x.shape[1], n_tasks).index_copy_(0, kept, own)
    return WideProbes(weights, found.biases - mean[kept] @ own, c)


def _choose(
    x: Tensor, targets: Tensor, counts: Tensor, held_out: Tensor, strengths: tuple[float, ...]
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """The index of each task's strength, and the solution found with it as a start for the final fit."""
    n_tasks, n = targets.shape[1], len(strengths)
    fitted = (counts & ~held_out[:, None]).to(x.dtype)
    # Columns run over tasks within strengths.
    weights = torch.cat([fitted * c for c in strengths], dim=1)
    found = minimise_columns(x, targets.repeat(1, n), weights)
    scores = x @ found.weights + found.biases
    losses = torch.nn.functional.softplus(scores) - targets.repeat(1, n) * scores
    judged = (counts & held_out[:, None]).double().repeat(1, n)
    mean_loss = (judged * losses.double()).sum(dim=0) / judged.sum(dim=0)
    chosen = mean_loss.view(n, n_tasks).argmin(dim=0)
    columns = chosen * n_tasks + torch.arange(n_tasks, device=x.device)
    return chosen, (found.weights[:, columns], found.biases[columns])


def predict_wide(probes: WideProbes, x: Float[Tensor, "rows features"]) -> Bool[Tensor, "rows tasks"]:
    """Which rows each probe takes for its class."""
    return x @ probes.weights + probes.biases > 0
