"""Putting a dictionary into unit atoms where that changes no reconstruction and no selection."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

# Norms this close to 1 are what float32 makes of exactly 1: leave such a checkpoint as it is.
_TOLERANCE = 1e-5

# What scales with an atom's norm, for architectures whose latents fire independently of one another.
# TopK is not among them: scaling changes which latents are the largest.
_SCALED = {
    "relu": ("W_enc", "b_enc"),
    "jumprelu": ("W_enc", "b_enc", "threshold"),
    "batchtopk": ("W_enc", "b_enc", "threshold"),
    "gated": ("W_enc", "b_gate", "b_mag"),
}


def fold_atom_norms(architecture: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same SAE with atoms of norm 1, so that a code is the size of its latent's contribution.

    Codes grow by the norm that the atom loses; which latents fire and the reconstruction stay. Architectures for
    which that is not so come back as they are, as does an atom of norm 0.
    """
    if architecture not in _SCALED or _is_unit(tensors["W_dec"]):
        return dict(tensors)
    return scale_latents(tensors, _SCALED[architecture])


def scale_latents(tensors: Mapping[str, Tensor], scaled: tuple[str, ...]) -> dict[str, Tensor]:
    """`tensors` with the atoms divided by their norms, and those in `scaled` multiplied by them."""
    norms = tensors["W_dec"].double().norm(dim=1)
    norms = torch.where(norms > 0, norms, 1)
    changed = {name: (tensors[name].double() * norms).float() for name in scaled}
    return {**tensors, **changed, "W_dec": (tensors["W_dec"].double() / norms.unsqueeze(1)).float()}


def _is_unit(W_dec: Tensor) -> bool:
    norms = W_dec.double().norm(dim=1)
    return bool((((norms - 1).abs() <= _TOLERANCE) | (norms == 0)).all())
