"""Which latents are shown: those that were asked for, and a sample drawn by density."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from sae_research.evals.windows.firings import candidate_latents

_CANDIDATES = 2
"""Latents of which codes are kept, for each that is drawn: rare and dense ones can then be preferred."""


def candidates(d_sae: int, n: int, *, seed: int) -> np.ndarray:
    """The latents that the sample of `n` is drawn from, in an order that depends on `seed` and `d_sae` alone."""
    return candidate_latents(d_sae, _CANDIDATES * n, seed=seed)


def draw_by_density(fired: np.ndarray, n: int) -> np.ndarray:
    """The places of `n` of the candidates, given on how many tokens each fired: equally many from each power of ten as
    long as there are any, and from those that never fired; the first of each in the order of candidates."""
    stratum = np.where(fired > 0, np.floor(np.log10(np.maximum(fired, 1))), -1).astype(int)
    rank = np.zeros(len(fired), dtype=int)
    for one in np.unique(stratum):
        rank[stratum == one] = np.arange((stratum == one).sum())
    return np.lexsort((stratum, rank))[:n]


def known_latents(latents: Iterable[int], d_sae: int) -> np.ndarray:
    """Those of `latents` that an SAE of that width has, ascending, each once."""
    return np.array(sorted({latent for latent in latents if latent < d_sae}), dtype=np.int64)
