"""What dashboards keep: a table with a row per latent that is shown, and the texts of the tokens in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from sae_research.evals.dashboards.atoms import Tops
from sae_research.evals.dashboards.excerpts import choose_excerpts
from sae_research.evals.dashboards.settings import DashboardsSettings
from sae_research.evals.dashboards.token_texts import TokenTexts
from sae_research.evals.windows.corpus import Corpus
from sae_research.evals.windows.firings import Codes
from sae_research.evals.windows.size import BUFFER
from sae_research.measurements import EvalOutput, Table

WIDTH = 2 * BUFFER + 1
"""Tokens of a window, at most."""
NONE = -1
"""In place of a window, a token or a latent where there is none."""


class Shown(NamedTuple):
    """The latents that are shown, in ascending order, and what is known of each."""

    latents: np.ndarray
    codes: Sequence[Codes]
    nearest: Tops
    promoted: tuple[Tops, Tops] | None
    """The tokens that their atoms promote most, and those they suppress most."""


def dashboards_output(
    shown: Shown,
    corpus: Corpus,
    settings: DashboardsSettings,
    texts: TokenTexts,
    *,
    no_logits: str | None,
    seed: int,
) -> EvalOutput:
    """The tables `latents` and `tokens`; `no_logits` says why no tokens are promoted."""
    n_real = int(corpus.real.sum())
    columns = {
        "latent": shown.latents.astype(np.int32),
        **_spread(shown.codes, n_real=n_real, n_bins=settings.n_bins),
        **_excerpts(shown, corpus, settings, seed=seed),
        "neighbour": _filled(shown.nearest.columns, settings.n_neighbours, np.int32),
        "neighbour_cosine": _filled(shown.nearest.values, settings.n_neighbours, np.float32),
    }
    for name, tops in zip(("promoted", "suppressed"), shown.promoted or (), strict=False):
        columns[name] = tops.columns.cpu().numpy().astype(np.int32)
        columns[f"{name}_by"] = tops.values.float().cpu().numpy()
    used = [columns[name].ravel() for name in ("window_tokens", "promoted", "suppressed") if name in columns]
    tokens = np.setdiff1d(np.concatenate(used), [NONE]).astype(np.int32)
    words = np.array(texts.of(tokens.tolist()), dtype=object)
    return EvalOutput(
        (),
        unstructured={"tokens_read": n_real, "no_logits": no_logits},
        tables={"latents": Table(columns), "tokens": Table({"token": tokens, "text": words})},
    )


def _spread(codes: Sequence[Codes], *, n_real: int, n_bins: int) -> dict[str, np.ndarray]:
    """How often each latent fires, and how its codes are spread: from 0 to the largest magnitude, or to both sides of 0
    where some codes are negative."""
    fired = np.array([len(one.values) for one in codes], dtype=np.int32)
    largest = np.array([np.abs(one.values).max(initial=0) for one in codes], dtype=np.float32)
    least = np.array([one.values.min(initial=0) for one in codes], dtype=np.float32)
    histogram = np.zeros((len(codes), n_bins), dtype=np.int32)
    for i, one in enumerate(codes):
        if fired[i]:
            lowest = -largest[i] if least[i] < 0 else 0.0
            histogram[i] = np.histogram(one.values, bins=n_bins, range=(lowest, largest[i]))[0]
    density = fired / max(1, n_real)
    return {"fired": fired, "density": density, "largest": largest, "least": least, "histogram": histogram}


def _excerpts(shown: Shown, corpus: Corpus, settings: DashboardsSettings, *, seed: int) -> dict[str, np.ndarray]:
    """By latent and window: why it was chosen, where it is, its tokens, and the latent's code at each of them."""
    n, n_windows = len(shown.latents), settings.n_windows
    numbers = {
        name: np.full((n, n_windows), NONE, dtype=dtype)
        for name, dtype in (
            ("window_kind", np.int8),
            ("window_row", np.int32),
            ("window_start", np.int32),
            ("window_centre", np.int8),
        )
    }
    tokens = np.full((n, n_windows, WIDTH), NONE, dtype=np.int32)
    values = np.zeros((n, n_windows, WIDTH), dtype=np.float32)
    length = corpus.tokens.shape[1]
    for i, (latent, codes) in enumerate(zip(shown.latents.tolist(), shown.codes, strict=True)):
        flat = codes.rows.astype(np.int64) * length + codes.positions
        for j, excerpt in enumerate(choose_excerpts(corpus, codes, settings, latent=latent, seed=seed)):
            row, start, end = excerpt.window
            place = (excerpt.kind, row, start, excerpt.position - start)
            for column, number in zip(numbers.values(), place, strict=True):
                column[i, j] = number
            tokens[i, j, : end - start] = corpus.tokens[row, start:end]
            first, last = np.searchsorted(flat, [row * length + start, row * length + end])
            values[i, j, codes.positions[first:last] - start] = codes.values[first:last]
    return {
        **numbers,
        "window_tokens": tokens.reshape(n, n_windows * WIDTH),
        "window_codes": values.reshape(n, n_windows * WIDTH),
    }


def _filled(values: Tensor, width: int, dtype: type) -> np.ndarray:
    """(n, width): the values, and `NONE` where there are fewer."""
    filled = np.full((len(values), width), NONE, dtype=dtype)
    filled[:, : values.shape[1]] = values.cpu().numpy()
    return filled
