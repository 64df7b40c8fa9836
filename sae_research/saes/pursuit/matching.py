"""Matching pursuit in two forms: on correlations with a Gram matrix, or on the residual if that would be too large."""

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
    """Adds the codes of `steps` steps to `codes`; overwrites `correlations`."""
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
    """Adds the codes of `steps` steps to `codes`, each step computing all correlations anew."""
    for _ in range(steps):
        atom, value = best_atom(residual @ W_dec.T, nonneg=nonneg)
        codes.scatter_add_(1, atom, value)
        residual = residual - value * W_dec[atom.squeeze(1)]


def best_atom(
    correlations: Float[Tensor, "token d_sae"], *, nonneg: bool
) -> tuple[Int[Tensor, "token 1"], Float[Tensor, "token 1"]]:
    """The atom of largest magnitude of each token (of equal ones the lowest index), and its code.

    Non-negative: the atom of largest correlation, with code 0 if that is below 0.
    """
    sizes = correlations if nonneg else correlations.abs()
    atom = sizes.argmax(dim=1, keepdim=True)
    value = correlations.gather(1, atom)
    return atom, value.clamp_min(0) if nonneg else value
