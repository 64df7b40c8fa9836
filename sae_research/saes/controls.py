"""Dictionaries that learned nothing, and TopK on them: what a claim about a learned dictionary is held against.

On frozen, random and raw dictionaries as sanity checks: https://arxiv.org/abs/2602.14111.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from sae_research.saes.build import unit_atoms
from sae_research.saes.solvers.selection import top_k_mask

# Activations that the gain of TopK is fitted on, at most.
_SAMPLE = 8192


def random_atoms(d_sae: int, d_in: int, *, seed: int) -> Float[Tensor, "d_sae d_in"]:
    """Directions drawn evenly from the sphere."""
    atoms = torch.randn(d_sae, d_in, generator=torch.Generator().manual_seed(seed))
    return atoms / atoms.norm(dim=1, keepdim=True)


def raw_atoms(
    x: Float[Tensor, "token d_in"], centre: Float[Tensor, " d_in"], d_sae: int, *, seed: int
) -> Float[Tensor, "d_sae d_in"]:
    """The directions, seen from `centre`, of `d_sae` activations drawn without replacement."""
    drawn = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:d_sae]
    return unit_atoms(x[drawn] - centre)


def principal_atoms(x: Float[Tensor, "token d_in"]) -> Float[Tensor, "d_in d_in"]:
    """The principal directions of `x`, largest variance first."""
    return torch.linalg.svd(torch.cov(x.double().T))[0].T.float()


def topk_tensors(
    atoms: Float[Tensor, "d_sae d_in"], centre: Float[Tensor, " d_in"], sample: Float[Tensor, "token d_in"], *, k: int
) -> dict[str, Tensor]:
    """The tensors of a TopK SAE that encodes with its own unit atoms, times one gain fitted to `sample`.

    The gain is what minimises the squared error. Without it atoms that overlap would count the same part of an
    activation many times over, and the control would fail for that reason alone.
    """
    y = sample[:_SAMPLE] - centre
    products = torch.relu(y @ atoms.T)
    x_hat = torch.where(top_k_mask(products, k), products, 0) @ atoms
    gain = best_gain(y, x_hat)
    return {
        "W_enc": (gain * atoms).T.contiguous(),
        "b_enc": torch.zeros(len(atoms)),
        "W_dec": atoms,
        "b_dec": centre,
    }


def best_gain(y: Float[Tensor, "token d"], y_hat: Float[Tensor, "token d"]) -> float:
    """The factor of `y_hat` that minimises the squared error."""
    energy = float(y_hat.double().square().sum())
    return float((y.double() * y_hat.double()).sum()) / energy if energy else 1.0
