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
    decay = x.new_ones(x.shape[2] + 1)
    decay[-1] = 0
    problem = _Problem(
        torch.cat([x, x.new_ones(*x.shape[:2], 1)], dim=2), 1 - 2 * positive.to(torch.float64), weights * c, decay
    )
    solution = _minimise(problem, tolerance * c * weights.sum(dim=1).clamp(min=1))
    return Probes(solution[:, :-1], solution[:, -1])


def predict(probes: Probes, x: Float[Tensor, "problems rows features"]) -> Bool[Tensor, "problems rows"]:
    """Which rows each probe assigns to its class."""
    scores = x.to(probes.weights.dtype) @ probes.weights[..., None]
    return scores.squeeze(-1) + probes.biases[:, None] > 0


class _Problem(NamedTuple):
    """The objective: rows with a constant last feature for the intercept, weight C per row."""

    rows: Tensor
    against: Tensor
    """1 in rows of class 0, -1 in rows of class 1: a score with this sign is on the wrong side where it is positive."""
    weights: Tensor
    decay: Tensor
    """Of each feature: 0 for the intercept, else 1."""

    def scores(self, solution: Tensor) -> Tensor:
        """Each row's score."""
        return (self.rows @ solution[..., None]).squeeze(-1)

    def value(self, solution: Tensor, scores: Tensor) -> Tensor:
        """The objective of each problem."""
        losses = torch.nn.functional.softplus(self.against * scores)
        return (self.weights * losses).sum(dim=1) + (self.decay * solution.square()).sum(dim=1) / 2

    def slope(self, point: _Point) -> tuple[Tensor, Tensor]:
        """Gradient and Hessian of each problem."""
        # The share of the wrong side: it keeps its precision where the right side's is almost 1.
        wrong = torch.sigmoid(self.against * point.scores)
        pull = self.weights * wrong
        gradient = (self.rows.mT @ (self.against * pull)[..., None]).squeeze(-1)
        hessian = (self.rows * (pull * (1 - wrong))[..., None]).mT @ self.rows
        return gradient + self.decay * point.solution, hessian + self.decay.diag()


class _Point(NamedTuple):
    """A solution of each problem, with its scores and its value."""

    solution: Tensor
    scores: Tensor
    value: Tensor

    def replaced(self, other: _Point, where: Bool[Tensor, " problems"]) -> _Point:
        """The other point for the problems in `where`, this one for the rest."""
        return _Point(*(
            torch.where(where.view(-1, *[1] * (mine.dim() - 1)), theirs, mine)
            for mine, theirs in zip(self, other, strict=True)
        ))  # fmt: skip


def _minimise(problem: _Problem, tolerance: Tensor) -> Tensor:
    """Newton's method with step halving on all problems in parallel; a problem that has converged no longer moves."""
    solution = problem.rows.new_zeros(problem.rows.shape[0], problem.rows.shape[2])
    scores = torch.zeros_like(problem.against)
    point = _Point(solution, scores, problem.value(solution, scores))
    for _ in range(_MOST_STEPS):
        gradient, hessian = problem.slope(point)
        moving = gradient.abs().amax(dim=1) > tolerance
        if not bool(moving.any()):
            return point.solution
        following = _step(problem, point, -_solve(hessian, gradient), gradient, moving)
        if following is None:
            # Any further decrease is below the objective's rounding error.
            return point.solution
        point = following
    raise ArithmeticError(f"logistic regression did not converge in {_MOST_STEPS} Newton steps")


def _solve(hessian: Tensor, gradient: Tensor) -> Tensor:
    """H⁻¹ g by Cholesky, with a ridge far below the unit diagonal where rounding makes H indefinite."""
    factor, failed = torch.linalg.cholesky_ex(hessian)
    if bool(failed.any()):
        ridge = 1e-10 * hessian.diagonal(dim1=1, dim2=2).amax(dim=1).clamp(min=1)
        factor = torch.linalg.cholesky(hessian + ridge[:, None, None] * torch.eye(hessian.shape[1]).to(hessian))
    return torch.cholesky_solve(gradient[..., None], factor).squeeze(-1)


def _step(problem: _Problem, point: _Point, direction: Tensor, gradient: Tensor, moving: Tensor) -> _Point | None:
    """The points after each moving problem's largest step 2⁻ⁿ that descends enough; None if no problem has such a step.

    Scores are linear in the step, so trying one needs no pass over the rows.
    """
    along = problem.scores(direction)
    expected = _SUFFICIENT * (gradient * direction).sum(dim=1)
    # Near the minimum a full Newton step changes the objective by less than its rounding error.
    limit = point.value + _ROUNDING * (1 + point.value.abs())
    best, open_ = point, moving
    for halvings in range(_MOST_HALVINGS):
        step = 0.5**halvings
        solution, scores = point.solution + step * direction, point.scores + step * along
        trial = _Point(solution, scores, problem.value(solution, scores))
        accepted = open_ & (trial.value <= limit + step * expected)
        best, open_ = best.replaced(trial, accepted), open_ & ~accepted
        if not bool(open_.any()):
            return best
    return best if bool((moving & ~open_).any()) else None
