"""How encoders that look at whole sequences go through their input: part by part, masked tokens at 0."""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Bool, Float
from torch import Tensor

from sae_research.saes.base import Sae, centred, zero_masked
from sae_research.workers import side_by_side

# Numbers held at a time beside the codes themselves: 256 MiB in float32. Changes memory and speed only.
_BUDGET = 2**26
# By each thread of a CPU: the fewer sequences, the more evenly threads share them.
_OF_A_THREAD = 3 * 2**22

Encode = Callable[[Tensor, Tensor], None]
"""Puts the codes of centred sequences [seq token d_in], masked tokens 0, into an empty tensor [seq token d_sae]."""


def encode_sequences(
    sae: Sae,
    x: Float[Tensor, "*batch d_in"],
    mask: Bool[Tensor, "*batch"] | None,
    encode: Encode,
    *,
    per_token: int,
    most: int,
) -> Float[Tensor, "*batch d_sae"]:
    """Codes of `x`, a bounded number of sequences at a time; a 2-D input is a batch of one-token sequences.

    The support of a sequence has at most `per_token` atoms for each of its tokens, and at most `most` in all.
    """
    y = zero_masked(centred(sae, x), mask)
    tokens = y.shape[-2] if y.ndim > 2 else 1
    sequences = y.reshape(-1, tokens, y.shape[-1])
    if sequences.numel() == 0:
        return y.new_zeros(*y.shape[:-1], sae.card.d_sae)
    widest = min(per_token * tokens, most)
    each = tokens * sae.card.d_sae + 2 * widest * (widest + sae.card.d_in)
    budget = _OF_A_THREAD if y.device.type == "cpu" else _BUDGET
    codes = y.new_empty(len(sequences), tokens, sae.card.d_sae)
    real = None if mask is None else mask.reshape(len(sequences), tokens, 1)

    def encode_part(part: slice) -> None:
        encode(sequences[part], codes[part])
        if real is not None:
            codes[part].masked_fill_(~real[part], 0)

    size = max(1, budget // each)
    side_by_side(encode_part, [slice(i, i + size) for i in range(0, len(sequences), size)], y.device)
    return codes.view(*y.shape[:-1], sae.card.d_sae)
