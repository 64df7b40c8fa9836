"""What the evals' passes over texts share: activations in language-model batches, codes in bounded pieces."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sae_research.lm.model import LanguageModel
from sae_research.lm.site import Site
from sae_research.saes.base import Sae

# Codes that exist at a time: 64 MiB in float32.
_PIECE_ELEMENTS = 2**24


def is_real(lm: LanguageModel, tokens: Int[Tensor, "batch position"]) -> Bool[Tensor, "batch position"]:
    """Where `tokens` is neither BOS, EOS nor pad."""
    special = torch.tensor(sorted(lm.special_ids), device=tokens.device, dtype=tokens.dtype)
    return ~torch.isin(tokens, special)


def capture(
    lm: LanguageModel, site: Site, tokens: Int[Tensor, "batch position"], *, batch_size: int
) -> Float[Tensor, "batch position d"]:
    """The activations at `site`, `batch_size` sequences at a time."""
    return torch.cat([lm.capture(part, site) for part in tokens.split(batch_size)])


def pieces(sae: Sae, sequences: int, tokens: int) -> Iterator[slice]:
    """Slices over the sequences whose dense codes stay within a fixed memory, one sequence at least."""
    step = max(1, _PIECE_ELEMENTS // (tokens * sae.card.d_sae))
    for start in range(0, sequences, step):
        yield slice(start, min(start + step, sequences))


def finite(values: Tensor, what: str) -> Tensor:
    """`values`; an error that names `what` where they hold NaN or infinity."""
    if not bool(values.isfinite().all()):
        raise FloatingPointError(f"the {what} holds NaN or infinity")
    return values
