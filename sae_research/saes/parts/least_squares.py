"""Many small least-squares problems at once: tokens of a sequence on the atoms of its support."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

# Atoms come in float32; singular values below this share of the largest are noise. The convention of numpy,
# LAPACK's xGELSY in torch.linalg.lstsq, and hence of the seed.
_RELATIVE_NOISE = torch.finfo(torch.float32).eps


def least_squares(
    y: Float[Tensor, "seq token d"], atoms: Float[Tensor, "seq m d"], sizes: Int[Tensor, " seq"]
) -> Float[Tensor, "seq token m"]:
    """W that minimises ||y - W atoms||_F for each sequence; of several such, the one of least norm.

    Sequence b has `sizes[b]` atoms; rows after them are zero and get coefficient 0. Solved through the normal
    equations in float64, on the shorter side of the atoms: m x m below d atoms, d x d from there on.
    """
    exact, wide = atoms.double(), sizes >= atoms.shape[-1]
    solution = torch.zeros(*y.shape[:2], atoms.shape[1], dtype=torch.float64, device=y.device)
    if not bool(wide.all()):
        narrow = ~wide
        solution[narrow] = _by_atoms(y[narrow].double(), exact[narrow], sizes[narrow])
    if bool(wide.any()):
        solution[wide] = _by_inputs(y[wide].double(), exact[wide], sizes[wide])
    return solution.to(y.dtype)


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
    dependent = (failed != 0) | ~(pivots.min(dim=-1).values > noise)
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
