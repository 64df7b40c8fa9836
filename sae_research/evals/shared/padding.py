"""Padding as SAEBench ablates it: every position that is not real has the codes of a zero activation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from sae_research.lm.model import LanguageModel
from sae_research.lm.tokens import tokenize_texts
from sae_research.probes.sparse_rows import Rows, SparseRows
from sae_research.saes.base import Sae


def padding_ratios(lm: LanguageModel, texts: Sequence[str], *, context_size: int) -> Float[Tensor, " texts"]:
    """The ratio of positions that are not real (including BOS) to real ones, for each text."""
    real = tokenize_texts(lm.tokenizer, texts, context_size=context_size).real.sum(dim=1)
    return ((context_size - real) / real.clamp(min=1)).to(lm.device)


def with_padding(sae: Sae, codes: Rows, ratios: Float[Tensor, " texts"]) -> Rows:
    """Mean contributions plus those of the padding, which SAEBench includes in the sum but not in the divisor.

    SAEs of scope `sequence` give masked tokens no codes, so their mean codes stay the same.
    """
    if sae.scope == "sequence":
        return codes
    zero = torch.zeros(1, sae.card.d_in, dtype=sae.W_dec.dtype, device=sae.W_dec.device)
    empty = sae.contributions(sae.encode(zero), zero).float()
    if not isinstance(codes, SparseRows):
        return torch.addcmul(codes, ratios[:, None], empty)
    padded = (torch.addcmul(block, ratios[part, None], empty) for part, block in codes.blocks())
    return SparseRows.of(padded, codes.width, codes.device)
