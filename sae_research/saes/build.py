"""Builds an SAE from a card and tensors, with a digest over everything that determines its codes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from sae_research.digests import digest_of
from sae_research.lm.site import Site
from sae_research.saes.base import Sae, SaeCard
from sae_research.saes.registry import sae_class


def build_sae(card: SaeCard, tensors: Mapping[str, Tensor]) -> Sae:
    """The SAE that `card` and `tensors` describe, in float32, its digest filled in."""
    exact = {name: tensor.detach().to(torch.float32).contiguous() for name, tensor in tensors.items()}
    sae = sae_class(card.architecture)(card, exact)
    sae.card = replace(sae.card, digest=sae_digest(sae))
    return sae.eval()


def rename(sae: Sae, name: str) -> Sae:
    """`sae` itself, now called `name`."""
    sae.card = replace(sae.card, name=name)
    return sae


def at_site(sae: Sae, site: Site) -> Sae:
    """`sae` itself, now read at `site`, which its digest counts."""
    if site != sae.card.site:
        sae.card = replace(sae.card, site=site)
        sae.card = replace(sae.card, digest=sae_digest(sae))
    return sae


def held_tensors(sae: Sae) -> dict[str, Tensor]:
    """The tensors that determine the SAE, by name, on the CPU."""
    return {name: sae.get_buffer(name).detach().cpu().contiguous() for name in sorted(sae.shapes)}


def sae_digest(sae: Sae) -> str:
    """SHA-256 over architecture, site, sizes, hyper-parameters, input and every tensor (name, dtype, shape, bytes)."""
    card = sae.card
    tensors = {
        name: [str(tensor.dtype), list(tensor.shape), hashlib.sha256(tensor.numpy().data).hexdigest()]
        for name, tensor in held_tensors(sae).items()
    }
    # Only what differs from what is usual counts: SAEs without such a field keep their digests.
    unusual = {"centred": True} if card.site.centred else {}
    unusual |= {} if card.prepend_bos else {"prepend_bos": False}
    unusual |= {} if card.input_norm == "none" else {"input_norm": card.input_norm}
    return digest_of(
        {
            **unusual,
            "architecture": card.architecture,
            "d_in": card.d_in,
            "d_sae": card.d_sae,
            "hook_name": card.site.hook_name,
            "hyperparameters": dict(card.hyperparameters),
            "tensors": tensors,
        }
    )


def unit_atoms(W_dec: Float[Tensor, "d_sae d_in"]) -> Float[Tensor, "d_sae d_in"]:
    """The atoms scaled to norm 1; an atom that is all zero stays zero."""
    exact = W_dec.double()
    norms = exact.norm(dim=1, keepdim=True)
    return torch.where(norms > 0, exact / norms.clamp_min(torch.finfo(torch.float64).tiny), 0).float()
