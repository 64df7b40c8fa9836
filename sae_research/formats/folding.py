"""Scales the atoms of a dictionary to norm 1 if that changes neither the reconstruction nor which latents fire."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sae_research.saes.registry import sae_class

# A norm this close to 1 is 1 up to the rounding of float32: such a checkpoint is left as it is.
_TOLERANCE = 1e-5


def fold_atom_norms(architecture: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the same SAE with atoms of norm 1, so a code is the size of its latent's contribution.

    Codes are multiplied by the norm that their atom loses; which latents fire and the reconstruction stay. If that does
    not hold for the architecture (`Sae.scaled_with_atoms` is empty), nothing is changed. Atoms of norm 0 stay.
    """
    scaled = sae_class(architecture).scaled_with_atoms
    norms = tensors["W_dec"].double().norm(dim=1)
    if not scaled or bool((((norms - 1).abs() <= _TOLERANCE) | (norms == 0)).all()):
        return dict(tensors)
    return scale_latents(tensors, scaled)


def scale_latents(tensors: Mapping[str, Tensor], scaled: tuple[str, ...]) -> dict[str, Tensor]:
    """`tensors` with the atoms divided by their norms, and the tensors named in `scaled` multiplied by them."""
    norms = tensors["W_dec"].double().norm(dim=1)
    norms = torch.where(norms > 0, norms, 1)
    changed = {name: (tensors[name].double() * norms).float() for name in scaled}
    return {**tensors, **changed, "W_dec": (tensors["W_dec"].double() / norms.unsqueeze(1)).float()}
