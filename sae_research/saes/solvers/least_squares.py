"""Many small least-squares problems at once: the tokens of each sequence fitted on the atoms of its support."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

# Atoms are float32, so singular values below this share of the largest (times the longer side) are noise. This is the
# convention of numpy, of LAPACK's xGELSY behind torch.linalg.lstsq, and hence of the project's seed.
_RELATIVE_NOISE = torch.finfo(torch.float32).eps
# A float32 fit is trusted if one refinement changes it by at most this share, so that a second one would change it by
# the square (about 1e-6), and if no pivot is so small compared with the largest that rounding could have made it.
_LARGEST_CORRECTION = 1e-3
_SMALLEST_PIVOT = 1e-2
# Below this (estimated) condition number of the normal equations, float32 is within about 1e-5 without refinement.
_GOOD_CONDITION = 64.0
_POWER_STEPS = 3
# The smallest singular value can be below the smallest pivot, so eigenvalues decide if a pivot is this near to noise.
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

    Sequence b has `sizes[b]` atoms; rows after them are zero and get coefficient 0. For the token y = (3, 4, 5) and the
    atoms (1, 0, 0) and (0, 1, 0), padded with a third row of zeros, W is (3, 4, 0). With atoms (1, 0, 0) twice, of the
    many W whose first two entries sum to 3, it is (1.5, 1.5, 0).

    The normal equations are solved on the shorter side of the atoms: m x m for fewer than d atoms, else d x d. They are
    solved in float32 with one step of refinement on the true residual (Björck 1987,
    https://doi.org/10.1016/0024-3795(87)90101-7), and in float64 for the sequences where that is not enough.
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
    """The fit in the dtype of `y`, corrected once if any sequence needs it; and which sequences to trust."""
    gram = _lower_gram(atoms if by_atoms else atoms.mT)
    if by_atoms:
        # Padding has zero rows and columns. A 1 on its diagonal keeps the matrix invertible and its coefficient 0: for
        # one atom of norm 1 and one row of padding [[1, 0], [0, 0]] becomes [[1, 0], [0, 1]].
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
    """rows rows^T on and below the diagonal, which is all that a Cholesky factor reads; the rest is not initialised.

    For 300 rows and panels of 128 these are rows 0-127 by columns 0-127, 128-255 by 0-255, and 256-299 by 0-299.
    """
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
    """The condition number of L L^T, estimated from below by a few power iterations with it and with its inverse."""
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
    """gram^+ right: by Cholesky, or by eigenvalues if the atoms are dependent to float32 accuracy.

    `gram` is zero in rows and columns that are not `present`. `longest` is the longer side of the atoms' matrix.
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
    # Eigenvalues are squares of singular values and come in ascending order.
    limit = (_RELATIVE_NOISE * longest) ** 2 * values[:, -1]
    is_signal = values > limit.unsqueeze(-1)
    inverse = torch.where(is_signal, 1 / torch.where(is_signal, values, 1), 0)
    return vectors @ (inverse.unsqueeze(-1) * (vectors.mT @ right))
