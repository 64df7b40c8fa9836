"""Absorption of a letter: how much of a word's projection on the letter's probe comes from latents of other things."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

# SAEBench's constants.
_SILENT = 1e-8
_FULL_LEAST_COSINE = 0.025
_LEAST_COSINE = 0.1
_LEAST_SHARE = 0.4
_MOST_ABSORBERS = 3


class Absorbed(NamedTuple):
    """What became of each word."""

    fraction: Float[Tensor, " words"]
    """From 0 (the split latents say the letter) to 1 (only others do)."""
    is_full: Bool[Tensor, " words"]
    """Whether one latent says the letter and no split latent fires."""


def measure_absorbed(
    codes: Float[Tensor, "words d_sae"],
    cosines: Float[Tensor, " d_sae"],
    projections: Float[Tensor, " words"],
    split: Int[Tensor, " split"],
) -> Absorbed:
    """Absorption of the words of one letter, whose probe finds them.

    `cosines` are those of the probe's direction p with the atoms, `projections` are x·p, `split` are the letter's own
    latents. A latent contributes code x cosine. With M the contribution of the split latents and A that of the
    three largest others whose cosine is at least 0.1: the fraction is 0 where M >= P or A < 0.4 P, 1 where M <= 0, else
    a / (a + M) with a = min(A, P - M). Full absorption: no split latent fires, and the latent that contributes most has
    a cosine of at least 0.025 and contributes 0.4 P or more.
    """
    contributions = codes * cosines
    own = contributions[:, split].sum(dim=1)
    absorbs = (cosines >= _LEAST_COSINE) & (contributions > 0)
    absorbs[:, split] = False
    others = torch.where(absorbs, contributions, 0.0).topk(min(_MOST_ABSORBERS, codes.shape[1]), dim=1).values.sum(1)
    enough = (projections > 0) & (others >= _LEAST_SHARE * projections) & (own < projections)
    absorbed = torch.minimum(others, projections - own)
    share = torch.where(own <= 0, 1.0, (absorbed / (absorbed + own)).clamp(0, 1))
    most, latent = contributions.max(dim=1)
    is_full = (
        (codes[:, split] < _SILENT).all(dim=1)
        & (cosines[latent] >= _FULL_LEAST_COSINE)
        & (projections > 0)
        & (most >= _LEAST_SHARE * projections)
    )
    return Absorbed(torch.where(enough, share, 0.0), is_full)


def f1_scores(
    predicted: Bool[Tensor, "*more rows letters"], actual: Bool[Tensor, "rows letters"]
) -> Float[Tensor, "*more letters"]:
    """2 hits / (predicted + actual) of each letter; 0 where there is neither."""
    hits = (predicted & actual).sum(dim=-2)
    return 2 * hits / (predicted.sum(dim=-2) + actual.sum(dim=-2)).clamp(min=1)


def count_split(f1_by_k: Float[Tensor, "k letters"], jump: float) -> Int[Tensor, " letters"]:
    """How many latents each letter's feature is split into: k grows while each step lifts F1 by more than `jump`."""
    rises = f1_by_k[1:] > f1_by_k[:-1] + jump
    return 1 + rises.long().cumprod(dim=0).sum(dim=0)
