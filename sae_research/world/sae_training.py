"""Trains all of the world's SAEs in one pass over the same activations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from typing import NamedTuple, final

import torch
from jaxtyping import Float
from torch import Tensor

from sae_research.progress import Progress
from sae_research.world.harvest import Activations
from sae_research.world.sae_objectives import OBJECTIVES, Objective, Start
from sae_research.world.sae_plan import SaePlan
from sae_research.world.settings import Recipe

_LEARNING_RATE = 6e-3
_SAMPLE = 2048
_STEPS_AT_ONCE = 20
"""Steps that each SAE takes in a row, so that its tensors stay in the core's cache."""
_WARM_UP, _DECAY_FROM = 0.05, 0.60
# Tensors that are divided by the activations' scale to bring them back to the model's units.
_IN_UNITS_OF_X = ("b_enc", "b_dec", "b_gate", "b_mag", "threshold")


class MadeSae(NamedTuple):
    """A finished SAE in the units of the model's activations."""

    plan: SaePlan
    tensors: Mapping[str, Tensor]
    training_tokens: int


def train_saes(
    plans: Sequence[SaePlan], x: Activations, recipe: Recipe, progress: Progress, pool: Executor, *, seed: int
) -> Iterator[MadeSae]:
    """The SAEs of `plans`; all trained ones see the same batches in the same order."""
    start = Start(random_atoms(recipe.d_sae, x.scaled.shape[1], seed), x.scaled.mean(dim=0), x.scaled[:_SAMPLE])
    learners = {p: _Learner(OBJECTIVES[p.architecture](start, p.sparsity)) for p in plans if p.is_trained}
    _fit(list(learners.values()), list(x.batches(recipe.sae_batch_size))[: recipe.sae_steps], progress, pool)
    for plan in plans:
        if plan.is_trained:
            tensors, tokens = learners[plan].objective.result(), recipe.sae_steps * recipe.sae_batch_size
        else:
            tensors, tokens = untrained(plan, x, recipe.d_sae, seed), 0
        rescaled = {n: t / x.scale if n in _IN_UNITS_OF_X else t for n, t in tensors.items()}
        yield MadeSae(plan, rescaled, tokens)


def random_atoms(d_sae: int, d_in: int, seed: int) -> Float[Tensor, "d_sae d_in"]:
    """Directions drawn uniformly from the sphere."""
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
    learners: Sequence[_Learner], batches: Sequence[Float[Tensor, "batch d"]], progress: Progress, pool: Executor
) -> None:
    rates = [_rate((step + 1) / len(batches)) for step in range(len(batches))]
    for start in range(0, len(batches), _STEPS_AT_ONCE):
        now = slice(start, start + _STEPS_AT_ONCE)
        list(pool.map(lambda learner, now=now: learner.learn(batches[now], rates[now]), learners))
        progress.advance(len(learners) * len(rates[now]), doing="SAEs")


def _rate(progress: float) -> float:
    """Fraction of the full learning rate: a short warm-up, constant, then linear to zero."""
    return min(1.0, progress / _WARM_UP, (1.0 - progress) / (1.0 - _DECAY_FROM) + 1e-3)
