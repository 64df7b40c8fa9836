"""Real tokens, and activations in language-model batches."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sae_research.lm.model import LanguageModel
from sae_research.lm.site import Site


def is_real(lm: LanguageModel, tokens: Int[Tensor, "batch position"]) -> Bool[Tensor, "batch position"]:
    """Where `tokens` is none of BOS, EOS and pad."""
    special = torch.tensor(sorted(lm.special_ids), device=tokens.device, dtype=tokens.dtype)
    return ~torch.isin(tokens, special)


def capture(
    lm: LanguageModel, site: Site, tokens: Int[Tensor, "batch position"], *, batch_size: int
) -> Float[Tensor, "batch position d"]:
    """The activations at `site`, `batch_size` sequences at a time."""
    return torch.cat([lm.capture(part, site) for part in tokens.split(batch_size)])
