"""Statistics of an SAE's weights, one number per latent, in bounded memory: 131,072 latents have 1.7e10 cosines."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

_BUDGET = 2**28
"""Bytes that the cosines of a tile and the rows behind it may take together."""
_ROWS = 2**13
"""Rows of a tile at most: larger ones are not faster."""


def describe_weights(
    encoder: Float[Tensor, "d_in d_sae"], decoder: Float[Tensor, "d_sae d_in"], bias: Float[Tensor, " d_sae"]
) -> dict[str, Float[Tensor, " d_sae"]]:
    """Encoder bias and norm, cosine of encoder with decoder, and each side's largest cosine with another latent.

    A zero direction has cosine 0 with every other. The largest cosine of a lone latent is -inf: there is no other.
    """
    encoder, decoder = encoder.detach().T, decoder.detach()
    in_decoder = largest_cosines(decoder)
    is_tied = torch.equal(encoder, decoder)
    norms, cosines = _side_by_side(encoder, decoder)
    return {
        "encoder_bias": bias.detach().float(),
        "encoder_norm": norms,
        "encoder_decoder_cosine_sim": cosines,
        "max_decoder_cosine_sim": in_decoder,
        "max_encoder_cosine_sim": in_decoder if is_tied else largest_cosines(encoder),
    }


def largest_cosines(rows: Float[Tensor, "n d"], *, budget: int = _BUDGET) -> Float[Tensor, " n"]:
    """For each row its largest cosine with any other row.

    Cosines are computed tile by tile, each pair of rows once, in `budget` bytes.
    """
    step = min(tile_rows(rows.shape[1], budget), len(rows))
    largest = torch.full((len(rows),), -torch.inf, device=rows.device)
    cosines = torch.empty(step * step, device=rows.device)
    for start in range(0, len(rows), step):
        units = _units(rows[start : start + step])
        for other in range(start, len(rows), step):
            others = units if other == start else _units(rows[other : other + step])
            tile = cosines[: len(units) * len(others)].view(len(units), len(others))
            torch.mm(units, others.T, out=tile)
            if other == start:
                tile.fill_diagonal_(-torch.inf)
            else:
                _raise(largest[other : other + step], tile.amax(dim=0))
            _raise(largest[start : start + step], tile.amax(dim=1))
    return largest


def tile_rows(width: int, budget: int) -> int:
    """The rows n of a tile, of which n² cosines and the unit rows fit into `budget` bytes.

    Four blocks of n float32 rows are held at once: those of the tile, the next ones, and what makes unit rows of them.
    """
    # n² + 4 n width = budget / 4
    return max(1, min(_ROWS, math.isqrt(4 * width**2 + budget // 4) - 2 * width))


def _side_by_side(encoder: Tensor, decoder: Tensor) -> tuple[Tensor, Tensor]:
    """Of each latent the norm of its encoder row, and its cosine with the decoder row."""
    step = tile_rows(encoder.shape[1], _BUDGET)
    norms, cosines = [], []
    for start in range(0, len(encoder), step):
        block = encoder[start : start + step].float()
        norms.append(block.norm(dim=1))
        cosines.append(torch.linalg.vecdot(_units(block), _units(decoder[start : start + step])))
    return torch.cat(norms), torch.cat(cosines)


def _units(rows: Tensor) -> Tensor:
    return torch.nn.functional.normalize(rows.float(), dim=1)


def _raise(values: Tensor, candidates: Tensor) -> None:
    """Takes the larger of each pair, in place."""
    torch.maximum(values, candidates, out=values)
