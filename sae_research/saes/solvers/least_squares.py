"""Many small least-squares problems at once: tokens of a sequence on the atoms of its support."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

# Atoms come in float32; singular values below this share of the largest are noise. The convention of numpy,
# LAPACK's xGELSY in torch.linalg.lstsq, and hence of the seed.
_RELATIVE_NOISE = torch.finfo(torch.float32).eps
# A float32 fit is taken where one refinement moves it by at most this share of it, hence a second one by its square
# (about 1e-6), and where no pivot is so small against the largest that rounding could have made it.
_LARGEST_CORRECTION = 1e-3
_SMALLEST_PIVOT = 1e-2
# Below this condition number of the normal equations (estimated) float32 is within about 1e-5 without refinement.
_GOOD_CONDITION = 64.0
_POWER_STEPS = 3
# The smallest singular value may lie below the smallest pivot: so near to noise the eigenvalues decide.
_MARGIN = 32
# Rows of a Gram matrix computed at a time.
_PANEL = 128


class _Fit(NamedTuple):
    values: Float[Tensor, "seq token m"]
    trusted: Bool[Tensor, " seq"]


def least_squares(
    y: Float[Tensor, "seq token d"], atoms: Float[Tensor, "seq m d"], sizes: Int[Tensor, " seq"]
) -> Float[Tensor, "seq token m"]:
    """W that minimises ||y - W atoms||_F for each sequence; of several such, the one of least norm.

    Sequence b has `sizes[b]` atoms; rows after them are zero and get coefficient 0. Solved through the normal
    equations on the shorter side of the atoms, m x m below d atoms and d x d from there on: in float32 with one step
    of refinement on the true residual (Björck 1987), and in float64 for the sequences where that is not enough.
    """
    wide = sizes >= atoms.shape[-1]
    values = y.new_zeros(*y.shape[:2], atoms.shape[1])
    for rows, shorter in ((wide, "d"), (~wide, "m")):
        if bool(rows.all()):
            return _fit(y, atoms, sizes, by_atoms=shorter == "m")
        if bool(rows.any()):
            values[rows] = _fit(y[rows], atoms[rows], sizes[rows], by_atoms=shorter == "m")
    return values


def _fit(
    y: Float[Tensor, "seq token d"], atoms: Float[Tensor, "seq m d"], sizes: Int[Tensor, " seq"], *, by_atoms: bool
) -> Float[Tensor, "seq token m"]:
    exact = _by_atoms if by_atoms else _by_inputs
    if y.dtype == torch.float64:
        return exact(y, atoms, sizes)
    values, trusted = _refined(y, atoms, sizes, by_atoms=by_atoms)
    if not bool(trusted.all()):
        rest = ~trusted
        values[rest] = exact(y[rest].double(), atoms[rest].double(), sizes[rest]).to(y.dtype)
    return values


def _refined(
    y: Float[Tensor, "seq token d"], atoms: Float[Tensor, "seq m d"], sizes: Int[Tensor, " seq"], *, by_atoms: bool
) -> _Fit:
    """The fit in the dtype of `y`, corrected once where any needs it, and where it can be trusted."""
    gram = _lower_gram(atoms if by_atoms else atoms.mT)
    if by_atoms:
        absent = torch.arange(atoms.shape[1], device=sizes.device) >= sizes.unsqueeze(-1)
        gram.diagonal(dim1=-2, dim2=-1).add_(absent)
    factor, failed = torch.linalg.cholesky_ex(gram)
    pivots = factor.diagonal(dim1=-2, dim2=-1)
    sound = (failed == 0) & (pivots.amin(-1) > _SMALLEST_PIVOT * pivots.amax(-1))

    def fit(rest: Tensor) -> Tensor:
        return _times_inverse(rest @ atoms.mT, factor) if by_atoms else _times_inverse(rest, factor) @ atoms.mT

    values = fit(y)
    if bool((sound & (_condition(factor) < _GOOD_CONDITION)).all()):
        return _Fit(values, sound)
    correction = fit(y - values @ atoms)
    size = torch.linalg.matrix_norm(values)
    small = torch.linalg.matrix_norm(correction) <= _LARGEST_CORRECTION * size
    return _Fit(values.add_(correction), sound & small)


def _lower_gram(rows: Float[Tensor, "seq n width"]) -> Float[Tensor, "seq n n"]:
    """rows rows^T on and below the diagonal, which is all that a Cholesky factor reads; anything above it."""
    n = rows.shape[1]
    gram = rows.new_empty(len(rows), n, n)
    for start in range(0, n, _PANEL):
        end = min(n, start + _PANEL)
        torch.bmm(rows[:, start:end], rows[:, :end].mT, out=gram[:, start:end, :end])
    return gram


def _times_inverse(
    right: Float[Tensor, "seq token n"], factor: Float[Tensor, "seq n n"]
) -> Float[Tensor, "seq token n"]:
    """right (L L^T)^-1."""
    forward = torch.linalg.solve_triangular(factor.mT, right, upper=True, left=False)
    return torch.linalg.solve_triangular(factor, forward, upper=False, left=False)


def _condition(factor: Float[Tensor, "seq n n"]) -> Float[Tensor, " seq"]:
    """About the condition number of L L^T, from below: a few power iterations forwards and backwards."""
    n = factor.shape[-1]
    place = torch.arange(n, device=factor.device, dtype=factor.dtype)
    start = torch.stack([torch.cos((1 + 0.7 * i) * place + i) for i in range(4)]).expand(len(factor), -1, -1)
    grown, shrunk = start, start
    for _ in range(_POWER_STEPS):
        grown = torch.nn.functional.normalize(grown, dim=-1) @ factor @ factor.mT
        shrunk = _times_inverse(torch.nn.functional.normalize(shrunk, dim=-1), factor)
    return grown.norm(dim=-1).amax(-1) * shrunk.norm(dim=-1).amax(-1)


def _by_atoms(
    y: Float[Tensor, "seq token d"], atoms: Float[Tensor, "seq m d"], sizes: Int[Tensor, " seq"]
) -> Float[Tensor, "seq token m"]:
    """W = y A^T (A A^T)^+."""
    gram = atoms @ atoms.mT
    present = torch.arange(atoms.shape[1], device=sizes.device) < sizes.unsqueeze(-1)
    return _solve(gram, present, atoms @ y.mT, longest=y.shape[-1]).mT


def _by_inputs(
    y: Float[Tensor, "seq token d"], atoms: Float[Tensor, "seq m d"], sizes: Int[Tensor, " seq"]
) -> Float[Tensor, "seq token m"]:
    """W = y (A^T A)^+ A^T."""
    gram = atoms.mT @ atoms
    present = torch.ones(gram.shape[:2], dtype=torch.bool, device=gram.device)
    return _solve(gram, present, y.mT, longest=sizes).mT @ atoms.mT


def _solve(
    gram: Float[Tensor, "seq n n"],
    present: Bool[Tensor, "seq n"],
    right: Float[Tensor, "seq n token"],
    *,
    longest: int | Int[Tensor, " seq"],
) -> Float[Tensor, "seq n token"]:
    """gram^+ right: by Cholesky, and by eigenvalues where the atoms are dependent to float32 accuracy.

    `gram` is zero where not `present`. `longest` is the longer side of the atoms' matrix.
    """
    factor, failed = torch.linalg.cholesky_ex(gram + torch.diag_embed((~present).to(gram.dtype)))
    pivots = torch.where(present, factor.diagonal(dim1=-2, dim2=-1), torch.inf)
    noise = _RELATIVE_NOISE * longest * gram.norm(dim=(-2, -1)).sqrt()  # the norm bounds the largest eigenvalue
    dependent = (failed != 0) | ~(pivots.min(dim=-1).values > _MARGIN * noise)
    if not bool(dependent.any()):
        return torch.cholesky_solve(right, factor)
    solution = torch.empty_like(right)
    regular = ~dependent
    if bool(regular.any()):
        solution[regular] = torch.cholesky_solve(right[regular], factor[regular])
    limits = longest[dependent] if isinstance(longest, Tensor) else longest
    solution[dependent] = _by_eigenvalues(gram[dependent], right[dependent], longest=limits)
    return solution


def _by_eigenvalues(
    gram: Float[Tensor, "seq n n"], right: Float[Tensor, "seq n token"], *, longest: int | Int[Tensor, " seq"]
) -> Float[Tensor, "seq n token"]:
    values, vectors = torch.linalg.eigh(gram)
    limit = (_RELATIVE_NOISE * longest) ** 2 * values[:, -1]
    kept = values > limit.unsqueeze(-1)
    inverse = torch.where(kept, 1 / torch.where(kept, values, 1), 0)
    return vectors @ (inverse.unsqueeze(-1) * (vectors.mT @ right))
