"""Statistics of codes: how many, how large, of which sign, and which latents fire where."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_research.saes.encoding import Reconstruction


class CodeCounts(NamedTuple):
    """Counts of one block of codes."""

    columns: dict[str, Float[Tensor, " sequences"]]
    """Per-sequence sums: l0, l1, signed (Σ z), negative (codes below 0), support (latents that fire)."""
    fired: Int[Tensor, "sequences d_sae"]
    """Tokens of the sequence where the latent is not 0."""
    positive: Int[Tensor, "sequences d_sae"]
    """Tokens of the sequence where the latent is above 0 (SAEBench's notion of firing)."""


def count_codes(made: Reconstruction, *, d_sae: int) -> CodeCounts:
    """Counts over the codes of real tokens; a latent fires where its code is not 0, whatever its sign."""
    codes, sums, sequences = made.codes(), made.sums(), len(made.real)
    owners = made.real.nonzero()[:, 0].repeat_interleave(codes.counts)
    # One slot for each latent in each sequence.
    slots = owners * d_sae + codes.latents
    fired = _tally(slots, sequences, d_sae)
    below = codes.values < 0
    positive = fired - _tally(slots[below], sequences, d_sae) if bool(below.any()) else fired
    columns = {
        "l0": fired.sum(dim=1),
        "l1": sums.l1,
        "signed": sums.signed,
        "negative": (fired - positive).sum(dim=1),
        "support": (fired > 0).sum(dim=1),
    }
    return CodeCounts({name: values.to(torch.float64) for name, values in columns.items()}, fired, positive)


def _tally(slots: Tensor, sequences: int, d_sae: int) -> Tensor:
    return torch.bincount(slots, minlength=sequences * d_sae).view(sequences, d_sae)
