"""L-BFGS on many logistic regressions that share one matrix of rows: two passes over the matrix per step."""

from __future__ import annotations

import logging
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

log = logging.getLogger(__name__)

_MOST_STEPS = 200
_MEMORY = 8
# A column has converged once its gradient is below this times its gradient at zero.
_TOLERANCE = 1e-3
_LINE_STEPS = 6
_LINE_TOLERANCE = 1e-3


class ColumnProbes(NamedTuple):
    """One linear classifier per column."""

    weights: Float[Tensor, "features columns"]
    biases: Float[Tensor, " columns"]


def minimise_columns(
    x: Float[Tensor, "rows features"],
    targets: Float[Tensor, "rows columns"],
    weights: Float[Tensor, "rows columns"],
    start: tuple[Tensor, Tensor] | None = None,
    *,
    tolerance: float = _TOLERANCE,
) -> ColumnProbes:
    """For each column the minimiser of Σ_i weight_i (log(1 + exp(s_i)) - target_i s_i) + ‖w‖²/2, s = x w + b.

    Deterministic. Columns do not influence each other: each has its own step length, and stops once its gradient is
    below `tolerance` times that at zero. Those that do not get there in 200 steps are told in the log. Scores are
    linear in the step, so searching along a line needs no pass over x.
    """
    state = _State.at(x, targets, weights, start)
    at_zero = _State.at(x, targets, weights, None).gradient if start is not None else state.gradient
    limit = tolerance * at_zero.norm(dim=0)
    memory: list[_Pair] = []
    for _ in range(_MOST_STEPS):
        active = state.gradient.norm(dim=0) > limit
        if not bool(active.any()):
            break
        direction = torch.where(active, -_apply_memory(memory, state.gradient), 0.0)
        following = state.move(x, targets, weights, direction)
        memory = [*memory, _Pair.between(state, following)][-_MEMORY:]
        state = following
    else:
        _tell_open(state.gradient.norm(dim=0), at_zero.norm(dim=0), limit)
    return ColumnProbes(state.solution[:-1], state.solution[-1])


def _tell_open(gradient: Tensor, at_zero: Tensor, limit: Tensor) -> None:
    """A warning if the gradient of some column is still above its limit."""
    open_ = gradient > limit
    if bool(open_.any()):
        worst = float((gradient / at_zero)[open_].max())
        log.warning(
            "L-BFGS: %d of %d probes did not converge in %d steps; the gradient is down to %.2g of that at zero, "
            "expected %.2g", int(open_.sum()), len(open_), _MOST_STEPS, worst, float((limit / at_zero)[open_].max()),
        )  # fmt: skip


class _State(NamedTuple):
    """A point: the solution with the bias in its last row, its scores, its gradient."""

    solution: Tensor
    scores: Tensor
    gradient: Tensor

    @classmethod
    def at(cls, x: Tensor, targets: Tensor, weights: Tensor, start: tuple[Tensor, Tensor] | None) -> _State:
        if start is None:
            solution = x.new_zeros(x.shape[1] + 1, targets.shape[1])
            scores = x.new_zeros(targets.shape)
        else:
            solution = torch.cat([start[0], start[1][None]])
            scores = _times(x.T, start[0]) + start[1]
        return cls(solution, scores, _gradient(x, targets, weights, solution, scores))

    def move(self, x: Tensor, targets: Tensor, weights: Tensor, direction: Tensor) -> _State:
        """The minimum along each column's direction."""
        along = _times(x.T, direction[:-1]) + direction[-1]
        step = _line_minimum(self, along, targets, weights, direction)
        solution, scores = self.solution + step * direction, self.scores + step * along
        return _State(solution, scores, _gradient(x, targets, weights, solution, scores))


def _gradient(x: Tensor, targets: Tensor, weights: Tensor, solution: Tensor, scores: Tensor) -> Tensor:
    pull = weights * (torch.sigmoid(scores) - targets)
    return torch.cat([_times(x, pull) + solution[:-1], pull.sum(dim=0, keepdim=True)])


def _times(matrix: Float[Tensor, "n m"], columns: Float[Tensor, "n columns"]) -> Float[Tensor, "m columns"]:
    """matrix^T columns, computed as a transpose: with few columns BLAS is several times faster that way."""
    return (columns.T @ matrix).T.contiguous()


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(dim=0)


class _Pair(NamedTuple):
    """A step and the change of the gradient along it, column by column."""

    moved: Tensor
    """The step divided by `product`; 0 where a column did not move."""
    change: Tensor
    product: Tensor
    """Of step and change."""

    @classmethod
    def between(cls, before: _State, after: _State) -> _Pair:
        moved, change = after.solution - before.solution, after.gradient - before.gradient
        product = _dot(moved, change)
        # Convexity makes the product positive, up to rounding.
        usable = product > 1e-10 * change.square().sum(dim=0)
        return cls(moved * torch.where(usable, 1 / product, 0.0), change, torch.where(usable, product, 0.0))

    def scale(self) -> Tensor:
        """The estimate of the inverse Hessian that this pair alone gives."""
        return torch.where(self.product > 0, self.product / self.change.square().sum(dim=0), 1.0)


def _apply_memory(memory: list[_Pair], gradient: Tensor) -> Tensor:
    """The inverse Hessian's L-BFGS estimate times the gradient (Nocedal & Wright, algorithm 7.4)."""
    q = gradient.clone()
    shares = []
    for pair in reversed(memory):
        shares.append(_dot(pair.moved, q))
        q.addcmul_(shares[-1], pair.change, value=-1)
    if memory:
        q *= memory[-1].scale()
    for pair, share in zip(memory, reversed(shares), strict=True):
        q.addcmul_(pair.moved, share * pair.product - _dot(pair.change, q))
    return q


def _line_minimum(state: _State, along: Tensor, targets: Tensor, weights: Tensor, direction: Tensor) -> Tensor:
    """Each column's step to the minimum of its convex objective on the line: Newton steps inside a bracket.

    A column stops once its slope is at most a thousandth of that at the start.
    """
    decay, slope = direction[:-1].square().sum(dim=0), _dot(state.solution[:-1], direction[:-1])
    pulled, bent = weights * along, weights * along.square()
    limit = _LINE_TOLERANCE * _dot(state.gradient, direction).abs()
    step = torch.ones_like(decay)
    low, high = torch.zeros_like(decay), torch.full_like(decay, torch.inf)
    for _ in range(_LINE_STEPS):
        shares = torch.sigmoid(torch.addcmul(state.scores, step, along))
        first = torch.addcmul(_dot(pulled, shares - targets) + slope, step, decay)
        open_ = first.abs() > limit
        if not bool(open_.any()):
            break
        second = _dot(bent, torch.addcmul(shares, shares, shares, value=-1)) + decay
        falls = first < 0
        low, high = torch.where(falls, step, low), torch.where(falls, high, step)
        newton = torch.addcdiv(step, first, second.clamp(min=1e-30), value=-1)
        middle = torch.where(high.isinf(), 2 * low, (low + high) / 2)
        step = torch.where(open_, torch.where(newton.clamp(low, high) == newton, newton, middle), step)
    return step
