"""How many atoms a sequence uses, and whether so many that a fit on them says nothing."""

from __future__ import annotations

from jaxtyping import Bool, Float, Int
from torch import Tensor

from sae_research.saes.base import zero_masked


def support_sizes(
    codes: Float[Tensor, "*seq token d_sae"], mask: Bool[Tensor, "*seq token"] | None = None
) -> Int[Tensor, " seq"]:
    """Atoms with a non-zero code at some token of the sequence where `mask` is True.

    A 2-D input is a batch of one-token sequences, as in `Sae.encode`.
    """
    used = zero_masked(codes, mask) != 0
    return used.any(dim=-2).sum(-1) if codes.ndim > 2 else used.sum(-1)


def interpolates(sizes: Int[Tensor, " seq"], d_in: int) -> Bool[Tensor, " seq"]:
    """Sequences whose support spans the input space: least squares on it (IHTP) reconstructs anything exactly.

    For atoms in general position d_in of them suffice; then explained variance and recovered loss mean nothing.
    """
    return sizes >= d_in
