"""What codes are like: how many, how large, of which sign, and which latents fire where."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor


class CodeCounts(NamedTuple):
    """Counts of one block of codes."""

    columns: dict[str, Float[Tensor, " sequences"]]
    """Per-sequence sums: l0, l1, signed (Σ z), negative (codes below 0), support (latents that fire)."""
    fired: Int[Tensor, "sequences d_sae"]
    """Tokens of the sequence where the latent is not 0."""
    positive: Int[Tensor, "sequences d_sae"]
    """Tokens of the sequence where the latent is above 0 (SAEBench's notion of firing)."""


def count_codes(codes: Float[Tensor, "sequences tokens d_sae"]) -> CodeCounts:
    """Counts over codes whose masked tokens are all 0; a latent fires where its code is not 0, whatever its sign."""
    sequences, tokens, width = codes.shape
    flat = codes.flatten()
    where = flat.nonzero().squeeze(1)
    slots = where.div(tokens * width, rounding_mode="floor") * width + where.remainder(width)
    fired = _tally(slots, sequences, width)
    below = flat[where] < 0
    positive = fired - _tally(slots[below], sequences, width) if bool(below.any()) else fired
    columns = {
        "l0": fired.sum(dim=1),
        "l1": torch.linalg.vector_norm(codes, ord=1, dim=-1, dtype=torch.float32).double().sum(dim=1),
        "signed": codes.sum(dim=-1, dtype=torch.float32).double().sum(dim=1),
        "negative": (fired - positive).sum(dim=1),
        "support": (fired > 0).sum(dim=1),
    }
    return CodeCounts({name: values.to(torch.float64) for name, values in columns.items()}, fired, positive)


def count_sparse(
    owners: Int[Tensor, " codes"],
    latents: Int[Tensor, " codes"],
    values: Float[Tensor, " codes"],
    *,
    sequences: int,
    width: int,
) -> CodeCounts:
    """The same counts of codes above 0, given one by one: the sequence, latent and value of each."""
    fired = _tally(owners * width + latents, sequences, width)
    total = torch.bincount(owners, weights=values.double(), minlength=sequences)
    columns = {
        "l0": fired.sum(dim=1),
        "l1": total,
        "signed": total,
        "negative": torch.zeros_like(total),
        "support": (fired > 0).sum(dim=1),
    }
    return CodeCounts({name: column.to(torch.float64) for name, column in columns.items()}, fired, fired)


def _tally(slots: Tensor, sequences: int, width: int) -> Tensor:
    return torch.bincount(slots, minlength=sequences * width).view(sequences, width)
