"""The training objective of each SAE architecture, on activations scaled to a mean norm of sqrt(d_in)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import NamedTuple, final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import FunctionCtx

_STEERING = 0.02
"""Change of the log penalty per training step and unit of log(L0 / target)."""
_L0_MEMORY = 0.9
_BANDWIDTH = 0.5
"""Width of the window around the threshold in which JumpReLU's straight-through estimator has a gradient."""
_THRESHOLD_MEMORY = 0.98
_AUX_K, _AUX_WEIGHT = 64, 1 / 32
_DEAD_AFTER = 40
"""Steps without a single activation after which a latent counts as dead."""


_FIRST_L0 = 3
"""Training with a steered penalty starts at this multiple of the target L0. From L0 = d_sae / 2, which random encoders
have, biases that move by a learning rate per step would not come down in time."""


class Start(NamedTuple):
    """Where training begins: atoms of norm 1, the mean activation, and sample activations to predict how many fire."""

    W_dec: Float[Tensor, "d_sae d_in"]
    b_dec: Float[Tensor, " d_in"]
    sample: Float[Tensor, "token d_in"]

    def level(self, l0: float) -> float:
        """The level that `l0` projections on the atoms exceed per token."""
        projections = ((self.sample - self.b_dec) @ self.W_dec.T).flatten()
        return float(projections.topk(min(int(l0 * len(self.sample)), len(projections)), sorted=False).values.min())


class Objective(ABC):
    """One SAE in training: its parameters, the loss of a batch, and the tensors to keep in the end."""

    def __init__(self, start: Start, sparsity: int) -> None:
        self.sparsity = sparsity
        self.parameters = {
            "W_enc": start.W_dec.T.clone().contiguous(),
            "W_dec": start.W_dec.clone(),
            "b_dec": start.b_dec.clone(),
            **self._more_parameters(start),
        }
        for tensor in self.parameters.values():
            tensor.requires_grad_(True)

    @abstractmethod
    def loss(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, ""]:
        """The loss of a batch."""

    def _more_parameters(self, start: Start) -> dict[str, Tensor]:
        """The parameters other than encoder, decoder and `b_dec`."""
        return {"b_enc": torch.zeros(len(start.W_dec))}

    def project(self) -> None:
        """Projects the parameters back onto their constraints: atoms of norm 1."""
        decoder = self.parameters["W_dec"]
        with torch.no_grad():
            decoder /= decoder.norm(dim=1, keepdim=True)

    def result(self) -> dict[str, Tensor]:
        """The tensors of the SAE at inference."""
        return {name: tensor.detach().clone() for name, tensor in self.parameters.items()}

    def _pre_activations(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_sae"]:
        p = self.parameters
        return torch.addmm(p["b_enc"], x - p["b_dec"], p["W_enc"])

    def _error(
        self, x: Float[Tensor, "batch d_in"], codes: Float[Tensor, "batch d_sae"]
    ) -> Float[Tensor, "batch d_in"]:
        p = self.parameters
        return x - torch.addmm(p["b_dec"], codes, p["W_dec"])


class _Steering:
    """A penalty's coefficient, adjusted so that L0 reaches its target whatever the data's scale."""

    def __init__(self, target: float, first: float) -> None:
        self.target = target
        self.coefficient = first
        self._l0: float | None = None

    def observe(self, l0: float) -> None:
        """Adjusts the coefficient to a batch's mean L0."""
        self._l0 = l0 if self._l0 is None else _L0_MEMORY * self._l0 + (1 - _L0_MEMORY) * l0
        gap = math.log(max(self._l0, 0.1) / self.target)
        self.coefficient *= math.exp(_STEERING * max(-2.0, min(2.0, gap)))


class _IdleSteps:
    """How many steps ago each latent last fired."""

    def __init__(self, d_sae: int) -> None:
        self.idle = torch.zeros(d_sae, dtype=torch.long)

    def observe(self, codes: Float[Tensor, "batch d_sae"]) -> None:
        """Counts the step of a batch with these codes."""
        self.idle = torch.where((codes.detach() > 0).any(dim=0), 0, self.idle + 1)

    def dead(self) -> Tensor:
        """Indices of the latents that have been silent for long."""
        return (self.idle > _DEAD_AFTER).nonzero().flatten()


@final
class ReluObjective(Objective):
    """Squared error and an L1 penalty."""

    def __init__(self, start: Start, sparsity: int) -> None:
        super().__init__(start, sparsity)
        self._steering = _Steering(sparsity, first=12.0 / sparsity)

    def _more_parameters(self, start: Start) -> dict[str, Tensor]:
        return {"b_enc": torch.full((len(start.W_dec),), -start.level(_FIRST_L0 * self.sparsity))}

    def loss(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, ""]:
        codes = torch.relu(self._pre_activations(x))
        self._steering.observe(_l0(codes))
        return _squared(self._error(x, codes)) + self._steering.coefficient * codes.sum(1).mean()


@final
class TopKObjective(Objective):
    """Squared error of the k largest, plus the error of dead latents on the residual (Gao et al. 2024, 2406.04093)."""

    def __init__(self, start: Start, sparsity: int) -> None:
        super().__init__(start, sparsity)
        self._idle_steps = _IdleSteps(start.W_dec.shape[0])

    def loss(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, ""]:
        acts = torch.relu(self._pre_activations(x))
        codes = _keep_top(acts, self.sparsity)
        error = self._error(x, codes)
        self._idle_steps.observe(codes)
        return _squared(error) + _revive(self, acts, error, self._idle_steps.dead())


@final
class BatchTopKObjective(Objective):
    """Like TopK, with the k largest per token on average over the batch (Bussmann et al. 2024, 2412.06410)."""

    def __init__(self, start: Start, sparsity: int) -> None:
        super().__init__(start, sparsity)
        self._idle_steps = _IdleSteps(start.W_dec.shape[0])
        self._threshold: float | None = None

    def loss(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, ""]:
        acts = torch.relu(self._pre_activations(x))
        least = smallest_kept(acts.detach(), self.sparsity, 0.5 * (self._threshold or 0.0))
        codes = torch.where(acts >= least, acts, 0)
        memory = 0.0 if self._threshold is None else _THRESHOLD_MEMORY
        self._threshold = memory * (self._threshold or 0.0) + (1 - memory) * least
        error = self._error(x, codes)
        self._idle_steps.observe(codes)
        return _squared(error) + _revive(self, acts, error, self._idle_steps.dead())

    def result(self) -> dict[str, Tensor]:
        tensors = super().result()
        return {**tensors, "threshold": torch.full_like(tensors["b_enc"], self._threshold or 0.0)}


@final
class JumpReluObjective(Objective):
    """Squared error and an L0 penalty; straight-through estimates train the thresholds (Rajamanoharan et al. 2024)."""

    def __init__(self, start: Start, sparsity: int) -> None:
        super().__init__(start, sparsity)
        self._steering = _Steering(sparsity, first=2.4 / sparsity)

    def _more_parameters(self, start: Start) -> dict[str, Tensor]:
        # Most of the level goes into the bias: a high threshold makes the reconstruction's gradient noisy.
        level, ones = start.level(_FIRST_L0 * self.sparsity), torch.ones(len(start.W_dec))
        return {"b_enc": -0.75 * level * ones, "threshold": 0.25 * level * ones}

    def loss(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, ""]:
        gate: Tensor = _Step.apply(pre := self._pre_activations(x), self.parameters["threshold"])  # type: ignore[assignment]
        codes = torch.relu(pre) * gate
        l0 = gate.sum(1).mean()
        self._steering.observe(float(l0.detach()))
        return _squared(self._error(x, codes)) + self._steering.coefficient * l0

    def project(self) -> None:
        super().project()
        with torch.no_grad():
            self.parameters["threshold"].clamp_(min=0.0)


@final
class GatedObjective(Objective):
    """Squared error, an L1 penalty on the gates, and the gates' own reconstruction by a frozen decoder."""

    def __init__(self, start: Start, sparsity: int) -> None:
        super().__init__(start, sparsity)
        self._steering = _Steering(sparsity, first=24.0 / sparsity)

    def _more_parameters(self, start: Start) -> dict[str, Tensor]:
        zeros = torch.zeros(len(start.W_dec))
        return {
            "b_gate": zeros - start.level(_FIRST_L0 * self.sparsity),
            "b_mag": zeros.clone(),
            "r_mag": zeros.clone(),
        }

    def loss(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, ""]:
        p = self.parameters
        shared = (x - p["b_dec"]) @ p["W_enc"]
        gates = torch.relu(shared + p["b_gate"])
        codes = torch.relu(shared * p["r_mag"].exp() + p["b_mag"]) * (gates.detach() > 0)
        self._steering.observe(_l0(gates))
        by_gates = x - torch.addmm(p["b_dec"].detach(), gates, p["W_dec"].detach())
        penalty = self._steering.coefficient * gates.sum(1).mean()
        return _squared(self._error(x, codes)) + _squared(by_gates) + penalty


class _Step(torch.autograd.Function):
    """1 where x > threshold; its gradient is that of a ramp of width `_BANDWIDTH`, to both."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, threshold: Tensor) -> Tensor:  # type: ignore[override]
        distance = x - threshold
        ctx.save_for_backward(distance)
        return (distance > 0).to(x.dtype)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        (distance,) = ctx.saved_tensors  # type: ignore[attr-defined]
        to_x = torch.where(distance.abs() < _BANDWIDTH / 2, gradient / _BANDWIDTH, 0)
        return to_x, -to_x.sum(0)


def _squared(error: Float[Tensor, "batch d_in"]) -> Float[Tensor, ""]:
    return error.square().sum(1).mean()


def _l0(codes: Float[Tensor, "batch d_sae"]) -> float:
    return float((codes.detach() > 0).sum()) / codes.shape[0]


def _keep_top(acts: Float[Tensor, "batch d_sae"], k: int) -> Float[Tensor, "batch d_sae"]:
    values, indices = acts.topk(k, dim=1, sorted=False)
    return torch.zeros_like(acts).scatter(1, indices, values)


def smallest_kept(acts: Float[Tensor, "batch d_sae"], k: int, guess: float) -> float:
    """The threshold that `k` activations per row reach on average; fast if it is above `guess`."""
    n_kept = k * acts.shape[0]
    candidates = acts[acts > guess]
    if candidates.numel() < n_kept:
        candidates = acts[acts > 0]
    n = min(n_kept, candidates.numel())
    return float(candidates.topk(n, sorted=False).values.min()) if n else 0.0


def _revive(
    objective: Objective, acts: Float[Tensor, "batch d_sae"], error: Float[Tensor, "batch d_in"], dead: Tensor
) -> Tensor:
    """The error of the strongest dead latents on the residual of the others; 0 while none is dead."""
    if not dead.numel():
        return torch.zeros(())
    codes = _keep_top(acts[:, dead], min(_AUX_K, dead.numel()))
    return _AUX_WEIGHT * _squared(error.detach() - codes @ objective.parameters["W_dec"][dead])


OBJECTIVES: dict[str, type[Objective]] = {
    "relu": ReluObjective,
    "topk": TopKObjective,
    "batchtopk": BatchTopKObjective,
    "jumprelu": JumpReluObjective,
    "gated": GatedObjective,
}
