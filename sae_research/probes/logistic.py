"""Many small logistic regressions solved together, exactly, in float64."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

# Newton converges quadratically; damped steps at the start need a few more.
_MOST_STEPS = 100
_MOST_HALVINGS = 40
_SUFFICIENT = 1e-4  # Armijo's constant.
_ROUNDING = 1e-13


class Probes(NamedTuple):
    """Linear classifiers, one per problem: class 1 where x weights + bias > 0."""

    weights: Float[Tensor, "problems features"]
    biases: Float[Tensor, " problems"]


def fit_logistic(
    x: Float[Tensor, "problems rows features"],
    positive: Bool[Tensor, "problems rows"],
    counts: Bool[Tensor, "problems rows"] | Float[Tensor, "problems rows"] | None = None,
    *,
    c: float = 1.0,
    tolerance: float = 1e-10,
) -> Probes:
    """The minimisers of C Σ_i log(1 + exp(-y_i (x_i w + b))) + ‖w‖²/2, y = ±1, each to gradient `tolerance` per row.

    This is the objective of scikit-learn's `LogisticRegression(C=c)`. It is strictly convex in w, and in b as soon as
    both classes occur, even with separable rows or constant features. `counts` weighs the rows; a row with False or 0
    is left out.
    """
    x = x.to(torch.float64)
    weights = x.new_ones(x.shape[:2]) if counts is None else counts.to(torch.float64)
    counted = weights > 0
    has_both = (positive & counted).any(dim=1) & (~positive & counted).any(dim=1)
    if not bool(has_both.all()):
        raise ValueError(f"problem {int((~has_both).nonzero()[0])} has rows of one class only; a probe needs both")
    problem = _Problem(torch.cat([x, x.new_ones(*x.shape[:2], 1)], dim=2), positive.to(torch.float64), weights * c)
    solution = _minimise(problem, tolerance * c * weights.sum(dim=1).clamp(min=1))
    return Probes(solution[:, :-1], solution[:, -1])


def predict(probes: Probes, x: Float[Tensor, "problems rows features"]) -> Bool[Tensor, "problems rows"]:
    """Which rows each probe assigns to its class."""
    scores = torch.einsum("prf,pf->pr", x.to(probes.weights.dtype), probes.weights) + probes.biases[:, None]
    return scores > 0


class _Problem(NamedTuple):
    """The objective: rows with a constant last feature for the intercept, targets 0/1, weight C per row."""

    rows: Tensor
    targets: Tensor
    weights: Tensor

    def value(self, solution: Tensor) -> Tensor:
        """The objective of each problem."""
        scores = self._scores(solution)
        losses = torch.nn.functional.softplus(scores) - self.targets * scores
        return (self.weights * losses).sum(dim=1) + solution[:, :-1].square().sum(dim=1) / 2

    def slope(self, solution: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient and Hessian of each problem."""
        shares = torch.sigmoid(self._scores(solution))
        gradient = torch.einsum("pr,prf->pf", self.weights * (shares - self.targets), self.rows)
        curvature = self.weights * shares * (1 - shares)
        hessian = torch.bmm((self.rows * curvature[..., None]).mT, self.rows)
        decay = torch.ones_like(solution[0])
        decay[-1] = 0
        return gradient + decay * solution, hessian + decay.diag()

    def _scores(self, solution: Tensor) -> Tensor:
        return torch.einsum("prf,pf->pr", self.rows, solution)


def _minimise(problem: _Problem, tolerance: Tensor) -> Tensor:
    """Newton's method with step halving on all problems in parallel; a problem that has converged no longer moves."""
    solution = problem.rows.new_zeros(problem.rows.shape[0], problem.rows.shape[2])
    value = problem.value(solution)
    for _ in range(_MOST_STEPS):
        gradient, hessian = problem.slope(solution)
        moving = gradient.abs().amax(dim=1) > tolerance
        if not bool(moving.any()):
            return solution
        direction = -_solve(hessian, gradient)
        solution, value, moved = _step(problem, solution, value, direction, gradient, moving)
        if not bool(moved.any()):
            # Any further decrease is below the objective's rounding error.
            return solution
    raise ArithmeticError(f"logistic regression did not converge in {_MOST_STEPS} Newton steps")


def _solve(hessian: Tensor, gradient: Tensor) -> Tensor:
    """H⁻¹ g by Cholesky, with a ridge far below the unit diagonal where rounding makes H indefinite."""
    factor, failed = torch.linalg.cholesky_ex(hessian)
    if bool(failed.any()):
        ridge = 1e-10 * hessian.diagonal(dim1=1, dim2=2).amax(dim=1).clamp(min=1)
        factor = torch.linalg.cholesky(hessian + ridge[:, None, None] * torch.eye(hessian.shape[1]).to(hessian))
    return torch.cholesky_solve(gradient[..., None], factor).squeeze(-1)


def _step(
    problem: _Problem, solution: Tensor, value: Tensor, direction: Tensor, gradient: Tensor, moving: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The next solutions and values, and which problems moved: each takes the largest step 2⁻ⁿ that descends enough."""
    expected = (gradient * direction).sum(dim=1)
    # Near the minimum a full Newton step changes the objective by less than its rounding error.
    slack = _ROUNDING * (1 + value.abs())
    step = torch.ones_like(value)
    open_ = moving.clone()
    moved = torch.zeros_like(moving)
    best, lowest = solution.clone(), value.clone()
    for _ in range(_MOST_HALVINGS):
        trial = solution + step[:, None] * direction
        reached = problem.value(trial)
        accepted = open_ & (reached <= value + _SUFFICIENT * step * expected + slack)
        best[accepted], lowest[accepted] = trial[accepted], reached[accepted]
        moved |= accepted
        open_ &= ~accepted
        if not bool(open_.any()):
            break
        step = torch.where(open_, step / 2, step)
    return best, lowest, moved
