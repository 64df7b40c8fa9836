"""Causal IHTP: the support of a token is the union over itself and the tokens before it, never later ones.

This is what IHTP (see `ihtp`) would be in a model that runs forward: the codes of a token do not change when the future
does. Atoms join in the order of the tokens that choose them. An atom that those before it (nearly) span stays out,
because it could add nothing. So a support never exceeds d_in atoms, and all fits of a sequence come from one Cholesky
factor: the factor of a prefix is its upper left part.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sae_research.saes.about import About
from sae_research.saes.base import SaeCard, Scope, check_k, zero_masked
from sae_research.saes.pursuit.sequences import SupportSae
from sae_research.saes.pursuit.thresholding import Thresholding, strongest
from sae_research.saes.solvers.cholesky import independent_cholesky
from sae_research.saes.solvers.nonnegative import fit_nonnegative

ABOUT = About(title="IHTP, causal", marker="p", color="#ddaa33", place=90)


@final
class IhtpCausalSae(SupportSae):
    """codes_t = argmin_z ||y_t - z D_S|| with S = union over tokens u <= t of top_k |D y_u|, y = x - b_dec."""

    scope: ClassVar[Scope] = "sequence"
    settings_type = Thresholding
    settings: Thresholding

    def __init__(self, card: SaeCard, tensors: Mapping[str, Tensor]) -> None:
        super().__init__(card, tensors)
        check_k(card, self.settings.k)

    def largest_support(self, tokens: int) -> int:
        return min(self.settings.k * tokens, self.card.d_sae)

    def pursue(self, y: Float[Tensor, "seq token d_in"], codes: Float[Tensor, "seq token d_sae"]) -> None:
        chosen, tokens = strongest(y @ self.W_dec.T, self.settings), y.shape[1]
        joined = torch.where(chosen.any(dim=1), chosen.to(torch.uint8).argmax(dim=1), tokens)
        m = max(1, int((joined < tokens).sum(-1).max()))
        indices = joined.argsort(dim=-1, stable=True)[:, :m]
        joined = joined.gather(1, indices)
        allowed = joined.unsqueeze(1) <= torch.arange(tokens, device=y.device).unsqueeze(-1)
        atoms = zero_masked(self.W_dec[indices], joined < tokens)
        fit = fit_nonnegative if self.settings.nonneg else _fit_prefixes
        codes.zero_().scatter_(-1, indices.unsqueeze(1).expand_as(allowed), fit(y, atoms, allowed))


def _fit_prefixes(
    y: Float[Tensor, "seq token d"], atoms: Float[Tensor, "seq m d"], allowed: Bool[Tensor, "seq token m"]
) -> Float[Tensor, "seq token m"]:
    """The least-squares fit of each token on its `allowed` atoms, which are the first ones of its sequence.

    With A A^T = L L^T, u = L^-1 A y holds the forward substitutions of all prefixes at once. Entries of u beyond a
    prefix are set to 0. L^-T is upper triangular, so it solves for the prefix without touching what was dropped.
    """
    exact = atoms.double()
    factor, is_kept = independent_cholesky(exact @ exact.mT)
    forward = torch.linalg.solve_triangular(factor, exact @ y.double().mT, upper=False)
    forward = torch.where(allowed.mT & is_kept.unsqueeze(-1), forward, 0)
    return torch.linalg.solve_triangular(factor.mT, forward, upper=True).mT.to(y.dtype)
