"""From a card and tensors to an SAE whose digest says what it computes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from sae_research.digests import digest_of
from sae_research.errors import UserError
from sae_research.records import read_record
from sae_research.saes.base import Sae, SaeCard
from sae_research.saes.registry import sae_class

Settings = TypeVar("Settings")


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


def read_settings(settings: type[Settings], card: SaeCard) -> Settings:
    """The architecture's `settings` from the card's hyper-parameters."""
    return read_record(settings, card.hyperparameters, where=f"SAE {card.name!r}: hyperparameters")


def with_settings(card: SaeCard, settings: Any) -> SaeCard:
    """`card` with every hyper-parameter written out, defaults included."""
    return replace(card, hyperparameters=asdict(settings))


def check_k(card: SaeCard, k: int) -> None:
    """Refuse a `k` that no code can have."""
    if not 1 <= k <= card.d_sae:
        raise UserError(f"SAE {card.name!r}: k is {k}, but d_sae is {card.d_sae}; k must lie between 1 and d_sae")


def held_tensors(sae: Sae) -> dict[str, Tensor]:
    """The tensors that make the SAE, by name, on the CPU."""
    return {name: sae.get_buffer(name).detach().cpu().contiguous() for name in sorted(sae.shapes)}


def sae_digest(sae: Sae) -> str:
    """SHA-256 over architecture, site, sizes, hyper-parameters and every tensor (name, dtype, shape, bytes)."""
    card = sae.card
    tensors = {name: _tensor_digest(tensor) for name, tensor in held_tensors(sae).items()}
    return digest_of(
        {
            "architecture": card.architecture,
            "d_in": card.d_in,
            "d_sae": card.d_sae,
            "hook_name": card.site.hook_name,
            "hyperparameters": dict(card.hyperparameters),
            "tensors": tensors,
        }
    )


def _tensor_digest(tensor: Tensor) -> list[object]:
    return [str(tensor.dtype), list(tensor.shape), hashlib.sha256(tensor.numpy().data).hexdigest()]


def unit_atoms(W_dec: Float[Tensor, "d_sae d_in"]) -> Float[Tensor, "d_sae d_in"]:
    """The atoms scaled to norm 1; an atom that is all zero stays zero."""
    exact = W_dec.double()
    norms = exact.norm(dim=1, keepdim=True)
    return torch.where(norms > 0, exact / norms.clamp_min(torch.finfo(torch.float64).tiny), 0).float()


def check_unit_atoms(card: SaeCard, W_dec: Float[Tensor, "d_sae d_in"]) -> None:
    """Refuse a dictionary whose atoms have another norm than 1 (or 0): pursuit would rank and scale them wrongly."""
    norms = W_dec.norm(dim=1)
    wrong = (norms != 0) & ((norms - 1).abs() > 1e-4)
    if bool(wrong.any()):
        raise UserError(
            f"SAE {card.name!r}: {int(wrong.sum())} of {card.d_sae} atoms have a norm other than 1 (up to "
            f"{float(norms.max()):.4g}); pursuit needs unit atoms: derive the variant with derive_variants"
        )
