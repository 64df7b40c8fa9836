"""Absorption of a letter: how much of a word's projection on the letter's probe comes from other latents."""

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
    """The absorption of each word."""

    fraction: Float[Tensor, " words"]
    """From 0 (the letter is carried by its split latents) to 1 (by other latents only)."""
    is_full: Bool[Tensor, " words"]
    """Whether a single latent carries the letter while no split latent fires."""


class SplitLatents(NamedTuple):
    """The latents of each letter."""

    latents: Int[Tensor, "letters most"]
    """Those of a letter with fewer than the most are followed by others, which do not count."""
    counts: Int[Tensor, " letters"]

    def of_words(self, letters: Int[Tensor, " words"]) -> tuple[Int[Tensor, "words most"], Bool[Tensor, "words most"]]:
        """The latents of each word's letter, and which of them count; the others repeat the letter's first one."""
        latents = self.latents[:, : int(self.counts.max())]
        counted = torch.arange(latents.shape[1], device=latents.device) < self.counts[:, None]
        return torch.where(counted, latents, latents[:, :1])[letters], counted[letters]


def measure_absorbed(
    codes: Float[Tensor, "words d_sae"],
    cosines: Float[Tensor, "letters d_sae"],
    projections: Float[Tensor, " words"],
    split: SplitLatents,
    letters: Int[Tensor, " words"],
) -> Absorbed:
    """Absorption of words whose letters the letters' probes detect.

    `cosines` are those of a letter's probe p with the atoms, `projections` are P = x·p. A latent contributes code x
    cosine. Let M be the contribution of the letter's split latents and A that of the three largest others whose cosine
    is at least 0.1. The fraction is 0 if M >= P or A < 0.4 P, 1 if M <= 0, and otherwise a / (a + M) with
    a = min(A, P - M). Full absorption: no split latent fires, and the latent that contributes most has a cosine of at
    least 0.025 and contributes 0.4 P or more.

    P = 10, M = 2 and A = 5 give a = min(5, 8) = 5 and the fraction 5 / 7.
    """
    of_word = cosines[letters]
    contributions = codes * of_word
    latents, counted = split.of_words(letters)
    main = torch.where(counted, contributions.gather(1, latents), 0.0).sum(dim=1)
    absorbs = ((of_word >= _LEAST_COSINE) & (contributions > 0)).scatter_(1, latents, value=False)
    others = torch.where(absorbs, contributions, 0.0).topk(min(_MOST_ABSORBERS, codes.shape[1]), dim=1).values.sum(1)
    enough = (projections > 0) & (others >= _LEAST_SHARE * projections) & (main < projections)
    absorbed = torch.minimum(others, projections - main)
    share = torch.where(main <= 0, 1.0, (absorbed / (absorbed + main)).clamp(0, 1))
    most, latent = contributions.max(dim=1)
    is_full = (
        (codes.gather(1, latents) < _SILENT).all(dim=1)
        & (of_word.gather(1, latent[:, None]).squeeze(1) >= _FULL_LEAST_COSINE)
        & (projections > 0)
        & (most >= _LEAST_SHARE * projections)
    )
    return Absorbed(torch.where(enough, share, 0.0), is_full)


def f1_scores(
    predicted: Bool[Tensor, "*more rows letters"], actual: Bool[Tensor, "rows letters"]
) -> Float[Tensor, "*more letters"]:
    """2 hits / (predicted + actual) for each letter; 0 where both are 0."""
    hits = (predicted & actual).sum(dim=-2)
    return 2 * hits / (predicted.sum(dim=-2) + actual.sum(dim=-2)).clamp(min=1)


def count_split(f1_by_k: Float[Tensor, "k letters"], jump: float) -> Int[Tensor, " letters"]:
    """How many latents each letter is split into: k grows as long as each step raises F1 by more than `jump`."""
    rises = f1_by_k[1:] > f1_by_k[:-1] + jump
    return 1 + rises.long().cumprod(dim=0).sum(dim=0)
