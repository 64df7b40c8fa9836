"""Trains all of the world's SAEs in one pass over the same activations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from sae_research.progress import Progress
from sae_research.world.harvest import Activations
from sae_research.world.sae_objectives import OBJECTIVES, Objective, Start
from sae_research.world.sae_plan import SaePlan

_LEARNING_RATE = 6e-3
_SAMPLE = 2048
_WARM_UP, _DECAY_FROM = 0.05, 0.60
# What is multiplied or divided by the activations' scale to bring the tensors back to the model's own units.
_IN_UNITS_OF_X = ("b_enc", "b_dec", "b_gate", "b_mag", "threshold")


class MadeSae(NamedTuple):
    """A finished SAE in the units of the model's activations."""

    plan: SaePlan
    tensors: Mapping[str, Tensor]
    training_tokens: int


def train_saes(
    plans: Sequence[SaePlan], x: Activations, *, d_sae: int, steps: int, batch_size: int, seed: int, progress: Progress
) -> Iterator[MadeSae]:
    """The SAEs of `plans`; those that learn see `steps` batches, the same ones in the same order."""
    objectives = {plan: _objective(plan, x, d_sae, seed) for plan in plans if plan.is_trained}
    _fit(list(objectives.values()), x, steps, batch_size, progress)
    for plan in plans:
        if plan.is_trained:
            tensors, tokens = objectives[plan].result(), steps * batch_size
        else:
            tensors, tokens = untrained(plan, x, d_sae, seed), 0
        yield MadeSae(plan, _rescaled(tensors, x.scale), tokens)


def _objective(plan: SaePlan, x: Activations, d_sae: int, seed: int) -> Objective:
    start = Start(random_atoms(d_sae, x.scaled.shape[1], seed), x.scaled.mean(dim=0), x.scaled[:_SAMPLE])
    return OBJECTIVES[plan.architecture](start, plan.sparsity)


def random_atoms(d_sae: int, d_in: int, seed: int) -> Float[Tensor, "d_sae d_in"]:
    """Directions drawn evenly from the sphere."""
    atoms = torch.randn(d_sae, d_in, generator=torch.Generator().manual_seed(seed))
    return atoms / atoms.norm(dim=1, keepdim=True)


def untrained(plan: SaePlan, x: Activations, d_sae: int, seed: int) -> dict[str, Tensor]:
    """The baselines: random atoms, or the principal components in both directions; both encode with their decoder."""
    mean = x.scaled.mean(dim=0)
    if plan.architecture == "random":
        atoms = random_atoms(d_sae, len(mean), seed + 1)
    else:
        # The k largest of both directions are the k components of largest magnitude with their signs.
        components = torch.linalg.svd(torch.cov(x.scaled.T))[0].T
        atoms = torch.cat([components, -components])
    return {"W_enc": atoms.T.contiguous(), "b_enc": torch.zeros(len(atoms)), "W_dec": atoms, "b_dec": mean}


def _fit(objectives: Sequence[Objective], x: Activations, steps: int, batch_size: int, progress: Progress) -> None:
    parameters = [tensor for objective in objectives for tensor in objective.parameters.values()]
    optimizer = torch.optim.Adam(parameters, lr=_LEARNING_RATE, betas=(0.9, 0.999), fused=True)
    for step, batch in zip(range(steps), x.batches(batch_size), strict=False):
        optimizer.param_groups[0]["lr"] = _LEARNING_RATE * _rate((step + 1) / steps)
        for objective in objectives:
            objective.loss(batch).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        for objective in objectives:
            objective.project()
        progress.advance(len(objectives), doing="SAEs")


def _rate(done: float) -> float:
    """Fraction of the full learning rate: a short warm-up, constant, then linear to zero."""
    return min(1.0, done / _WARM_UP, (1.0 - done) / (1.0 - _DECAY_FROM) + 1e-3)


def _rescaled(tensors: Mapping[str, Tensor], scale: float) -> dict[str, Tensor]:
    return {name: tensor / scale if name in _IN_UNITS_OF_X else tensor for name, tensor in tensors.items()}
