"""The scores of the fake evals, by row of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from sae_research.data.text import load_texts, token_rows
from sae_research.evals.base import EvalContext, Outcome
from sae_research.evals.shared.batches import is_real
from sae_research.measurements import EvalOutput, measured
from sae_research.metrics.intervals import Sums, jackknife
from sae_research.saes.base import Sae

from .settings import FakeScoresSettings


def measure_fake_scores(context: EvalContext, saes: Sequence[Sae], settings: FakeScoresSettings) -> Iterator[Outcome]:
    """The outcome of every SAE; all are at one site."""
    lm, site = context.lm, saes[0].card.site
    texts = load_texts(context.hub, settings.dataset, "test")
    tokens = token_rows(texts, lm.tokenizer, context_size=settings.context_size, n_rows=settings.n_rows, name="fake")
    with torch.no_grad():
        x, real = lm.capture(tokens, site), is_real(lm, tokens)
        variance = ((x - x[real].mean(dim=0)) ** 2).sum(dim=-1) * real
        for sae in saes:
            codes = sae.encode(x, mask=real)
            sums = {
                "error": ((x - sae.decode(codes)) ** 2).sum(dim=-1) * real,
                "variance": variance,
                "fires": (codes != 0).sum(dim=-1) * real,
                "tokens": real,
            }
            rows = {name: values.sum(dim=1).double().cpu().numpy() for name, values in sums.items()}
            yield Outcome(sae, _output(rows, sae.card.digest, settings), None)


def _output(rows: dict[str, np.ndarray], digest: str, settings: FakeScoresSettings) -> EvalOutput:
    """The noise of a row depends on the SAE's digest and the row alone; that of a mean has the size of the settings."""
    n = len(rows["tokens"])
    noise = np.random.default_rng(int(digest[:12], 16)).normal(size=n) * np.sqrt(n)
    rows = {**rows, "noise": noise, "n": np.ones(n)}

    def scores(sums: Sums) -> dict[str, Any]:
        explained, noise = 1 - sums["error"] / sums["variance"], sums["noise"] / sums["n"]
        return {
            "little_noise": explained + settings.little_noise * noise,
            "much_noise": explained + settings.much_noise * noise,
            "negative": -explained,
            "fires": sums["fires"] / sums["tokens"],
            "constant": 0.5 * sums["n"] / sums["n"],
        }

    return EvalOutput(tuple(measured(name, estimate) for name, estimate in jackknife(rows, scores).items()))
