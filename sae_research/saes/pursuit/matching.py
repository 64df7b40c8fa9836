"""Matching pursuit, in two forms: on correlations by a Gram matrix, on the residual where that would be too large."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

from sae_research.saes.kernels import pursuit


def pursue_correlations(
    correlations: Float[Tensor, "token d_sae"],
    gram: Float[Tensor, "d_sae d_sae"],
    codes: Float[Tensor, "token d_sae"],
    *,
    steps: int,
    nonneg: bool,
) -> None:
    """Adds to `codes` what `steps` steps take from `correlations`, which are used up."""
    if pursuit.serves(correlations):
        pursuit.matching_pursuit(correlations, gram, codes, steps=steps, nonneg=nonneg)
        return
    for _ in range(steps):
        atom, value = best_atom(correlations, nonneg=nonneg)
        codes.scatter_add_(1, atom, value)
        correlations.addcmul_(value, gram[atom.squeeze(1)], value=-1)


def pursue_residual(
    residual: Float[Tensor, "token d_in"],
    W_dec: Float[Tensor, "d_sae d_in"],
    codes: Float[Tensor, "token d_sae"],
    *,
    steps: int,
    nonneg: bool,
) -> None:
    """Adds to `codes` what `steps` steps take, each with all correlations computed afresh."""
    for _ in range(steps):
        atom, value = best_atom(residual @ W_dec.T, nonneg=nonneg)
        codes.scatter_add_(1, atom, value)
        residual = residual - value * W_dec[atom.squeeze(1)]


def best_atom(
    correlations: Float[Tensor, "token d_sae"], *, nonneg: bool
) -> tuple[Int[Tensor, "token 1"], Float[Tensor, "token 1"]]:
    """The atom of largest magnitude of each token (the lowest index of equals) and what is taken of it.

    Non-negative: the largest correlation itself, and nothing is taken where that is below 0.
    """
    sizes = correlations if nonneg else correlations.abs()
    atom = sizes.argmax(dim=1, keepdim=True)
    value = correlations.gather(1, atom)
    return atom, value.clamp_min(0) if nonneg else value
