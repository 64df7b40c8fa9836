"""Many small non-negative least-squares problems at once: accelerated projected gradients on the normal equations.

FISTA (Beck and Teboulle 2009, https://doi.org/10.1137/080716542) with the restarts of O'Donoghue and Candès 2015
(https://doi.org/10.1007/s10208-013-9150-3).
"""

from __future__ import annotations

import logging

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

log = logging.getLogger(__name__)

# A token has converged when no coefficient can gain: the gradient of its positive coefficients, and the negative
# gradient of those at 0, are below this share of its largest correlation.
_TOLERANCE = 1e-6
_MOST_STEPS = 4000
_STEPS_BETWEEN_CHECKS = 25


def nonnegative_least_squares(
    y: Float[Tensor, "seq token d"], atoms: Float[Tensor, "seq m d"], sizes: Int[Tensor, " seq"]
) -> Float[Tensor, "seq token m"]:
    """W >= 0 that minimises ||y - W atoms||_F for each sequence; rows of `atoms` after `sizes` are 0 and get 0."""
    present = torch.arange(atoms.shape[1], device=sizes.device) < sizes.unsqueeze(-1)
    return fit_nonnegative(y, atoms, present.unsqueeze(1).expand(*y.shape[:2], -1))


def fit_nonnegative(
    y: Float[Tensor, "seq token d"], atoms: Float[Tensor, "seq m d"], allowed: Bool[Tensor, "seq token m"]
) -> Float[Tensor, "seq token m"]:
    """W >= 0, and 0 where not `allowed`, that minimises ||y - W atoms||_F.

    In float64, from 0, until the optimality conditions hold up to a tolerance. Where they do not after 4000 steps, the
    log says so. Tokens are independent problems: once one has converged it does not change, whatever else is in the
    batch.
    """
    exact = atoms.double()
    gram, right = exact @ exact.mT, torch.where(allowed, y.double() @ exact.mT, 0)
    step = 1 / _largest_eigenvalue_bound(gram, allowed).clamp_min(torch.finfo(gram.dtype).tiny)
    values, ahead = torch.zeros_like(right), torch.zeros_like(right)
    momentum = torch.ones_like(right[..., :1])
    limit = _TOLERANCE * right.abs().amax(-1, keepdim=True)
    for count in range(_MOST_STEPS):
        if count % _STEPS_BETWEEN_CHECKS == 0:
            open_ = _violation(values, values @ gram - right, allowed) > limit
            if not bool(open_.any()):
                break
        slope = ahead @ gram - right
        moved = torch.where(allowed, (ahead - step * slope).clamp_min(0), 0)
        turned = ((ahead - moved) * (moved - values)).sum(-1, keepdim=True) > 0
        following = (1 + (1 + 4 * momentum**2).sqrt()) / 2
        pushed = moved + (momentum - 1) / following * (moved - values)
        ahead = torch.where(open_, torch.where(turned, moved, pushed), ahead)
        momentum = torch.where(turned, 1.0, following)
        values = torch.where(open_, moved, values)
    else:
        _tell_open(_violation(values, values @ gram - right, allowed), limit)
    return values.to(y.dtype)


def _tell_open(violation: Float[Tensor, "seq token 1"], limit: Float[Tensor, "seq token 1"]) -> None:
    """A warning if some token's fit is not optimal."""
    open_ = violation > limit
    if bool(open_.any()):
        worst = float((violation / limit)[open_].max()) * _TOLERANCE
        log.warning(
            "non-negative least squares: %d of %d tokens did not converge in %d steps; a gradient is still %.2g of the "
            "largest correlation, expected %.2g", int(open_.sum()), open_.numel(), _MOST_STEPS, worst, _TOLERANCE,
        )  # fmt: skip


def _violation(
    values: Float[Tensor, "seq token m"], slope: Float[Tensor, "seq token m"], allowed: Bool[Tensor, "seq token m"]
) -> Float[Tensor, "seq token 1"]:
    wrong = torch.where(values > 0, slope.abs(), (-slope).clamp_min(0))
    return torch.where(allowed, wrong, 0).amax(-1, keepdim=True)


def _largest_eigenvalue_bound(
    gram: Float[Tensor, "seq m m"], allowed: Bool[Tensor, "seq token m"]
) -> Float[Tensor, "seq token 1"]:
    """For each token the smaller of two norms of the allowed part of `gram`; each bounds its largest eigenvalue.

    Only the allowed part counts, because atoms that a token may not use must not affect its fit.
    """
    weights = allowed.to(gram.dtype)
    row_sums = torch.where(allowed, weights @ gram.abs(), 0).amax(-1, keepdim=True)
    squares = ((weights @ gram.square()) * weights).sum(-1, keepdim=True)
    return torch.minimum(row_sums, squares.sqrt())
