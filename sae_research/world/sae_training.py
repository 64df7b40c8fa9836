"""Trains all of the world's SAEs, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from typing import NamedTuple, final

import torch
from jaxtyping import Float
from torch import Tensor

from sae_research.progress import Progress
from sae_research.saes.controls import best_gain, random_atoms
from sae_research.saes.solvers.selection import top_k_mask
from sae_research.world.harvest import Activations
from sae_research.world.sae_objectives import OBJECTIVES, Objective, Start
from sae_research.world.sae_plan import SaePlan
from sae_research.world.settings import Recipe

_LEARNING_RATE = 6e-3
_SAMPLE = 2048
_STEPS_AT_ONCE = 20
"""Steps that each SAE takes in a row, so that its tensors stay in the core's cache."""
_SEEDS_APART = 1_000_003
"""How far the seeds of two SAEs' initialisations are apart: no world's seed is another one's."""
_WARM_UP, _DECAY_FROM = 0.05, 0.60
# Tensors that are divided by the activations' scale to bring them back to the model's units.
_IN_UNITS_OF_X = ("b_enc", "b_dec", "b_gate", "b_mag", "threshold")


class MadeSae(NamedTuple):
    """A finished SAE in the units of the model's activations."""

    plan: SaePlan
    tensors: Mapping[str, Tensor]
    training_tokens: int


def train_saes(
    plans: Sequence[SaePlan],
    activations: Mapping[str, Activations],
    recipe: Recipe,
    progress: Progress,
    pool: Executor,
    *,
    seed: int,
) -> Iterator[MadeSae]:
    """The SAEs of `plans`, each trained on the activations of its model; seeds differ in start and order of batches."""
    learners = [_Learner(_objective(plan, activations[plan.model], recipe.d_sae, seed)) for plan in plans]
    batches = [_batches(plan, activations[plan.model], recipe, seed) for plan in plans]
    _fit(learners, batches, progress, pool)
    for plan, learner in zip(plans, learners, strict=True):
        x, tensors = activations["trained"], learner.objective.result()
        if plan.model == "untrained":
            tensors = _moved(tensors, x, plan.sparsity)
        rescaled = {n: t / x.scale if n in _IN_UNITS_OF_X else t for n, t in tensors.items()}
        yield MadeSae(plan, rescaled, recipe.sae_steps * recipe.sae_batch_size)


def _objective(plan: SaePlan, x: Activations, d_sae: int, seed: int) -> Objective:
    atoms = random_atoms(d_sae, x.scaled.shape[1], seed=seed + _SEEDS_APART * plan.seed)
    return OBJECTIVES[plan.architecture](Start(atoms, x.scaled.mean(dim=0), x.scaled[:_SAMPLE]), plan.sparsity)


def _batches(plan: SaePlan, x: Activations, recipe: Recipe, seed: int) -> list[Float[Tensor, "batch d"]]:
    batches = list(x.batches(recipe.sae_batch_size))[: recipe.sae_steps]
    if plan.seed == 0:
        return batches
    generator = torch.Generator().manual_seed(seed + _SEEDS_APART * plan.seed)
    return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]


def _moved(tensors: Mapping[str, Tensor], x: Activations, k: int) -> dict[str, Tensor]:
    """A TopK SAE of another model as one of `x`: seen from the mean of `x`, its codes times the gain that fits `x`."""
    moved = {**tensors, "b_dec": x.scaled.mean(dim=0)}
    y = x.scaled[:_SAMPLE] - moved["b_dec"]
    acts = torch.relu(y @ moved["W_enc"] + moved["b_enc"])
    gain = best_gain(y, torch.where(top_k_mask(acts, k), acts, 0) @ moved["W_dec"])
    return {**moved, "W_enc": gain * moved["W_enc"], "b_enc": gain * moved["b_enc"]}


@final
class _Learner:
    """An objective with its optimizer."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        parameters = list(objective.parameters.values())
        self._optimizer = torch.optim.Adam(parameters, lr=_LEARNING_RATE, betas=(0.9, 0.999), fused=True)

    def learn(self, batches: Sequence[Float[Tensor, "batch d"]], rates: Sequence[float]) -> None:
        """Takes a step on each batch, at its fraction of the full learning rate."""
        for batch, rate in zip(batches, rates, strict=True):
            self._optimizer.param_groups[0]["lr"] = _LEARNING_RATE * rate
            self.objective.loss(batch).backward()
            self._optimizer.step()
            self._optimizer.zero_grad(set_to_none=True)
            self.objective.project()


def _fit(
    learners: Sequence[_Learner],
    batches: Sequence[Sequence[Float[Tensor, "batch d"]]],
    progress: Progress,
    pool: Executor,
) -> None:
    """Trains every learner on its own sequence of batches; all are of one length."""
    n_steps = len(batches[0])
    rates = [_rate((step + 1) / n_steps) for step in range(n_steps)]
    for start in range(0, n_steps, _STEPS_AT_ONCE):
        now = slice(start, start + _STEPS_AT_ONCE)
        list(
            pool.map(lambda learner, of_learner, now=now: learner.learn(of_learner[now], rates[now]), learners, batches)
        )
        progress.advance(len(learners) * len(rates[now]), doing="SAEs")


def _rate(progress: float) -> float:
    """Fraction of the full learning rate: a short warm-up, constant, then linear to zero."""
    return min(1.0, progress / _WARM_UP, (1.0 - progress) / (1.0 - _DECAY_FROM) + 1e-3)
