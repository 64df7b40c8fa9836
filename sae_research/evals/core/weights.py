"""Statistics of an SAE's weights, one number per latent."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

# Rows of a block of cosines: bounds memory at rows * d_sae.
_ROWS = 512


def describe_weights(
    encoder: Float[Tensor, "d_in d_sae"], decoder: Float[Tensor, "d_sae d_in"], bias: Float[Tensor, " d_sae"]
) -> dict[str, Float[Tensor, " d_sae"]]:
    """Encoder bias and norm, cosine of encoder with decoder, and each side's largest cosine with another latent.

    A zero direction has cosine 0 with every other. The largest cosine of a lone latent is -inf: there is no other.
    """
    encoder, decoder = encoder.detach().float().T, decoder.detach().float()
    unit_encoder, unit_decoder = (torch.nn.functional.normalize(rows, dim=1) for rows in (encoder, decoder))
    in_decoder = largest_cosines(unit_decoder)
    is_tied = torch.equal(encoder, decoder)
    return {
        "encoder_bias": bias.detach().float(),
        "encoder_norm": encoder.norm(dim=1),
        "encoder_decoder_cosine_sim": torch.linalg.vecdot(unit_encoder, unit_decoder),
        "max_decoder_cosine_sim": in_decoder,
        "max_encoder_cosine_sim": in_decoder if is_tied else largest_cosines(unit_encoder),
    }


def largest_cosines(units: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    """For each unit row its largest dot product with any other row."""
    largest = []
    for start in range(0, len(units), _ROWS):
        block = units[start : start + _ROWS] @ units.T
        block.diagonal(offset=start).fill_(-torch.inf)
        largest.append(block.amax(dim=1))
    return torch.cat(largest)
