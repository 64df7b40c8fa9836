"""Mean activations and codes of texts, whatever batches and padding; groups of SAEs that fit in memory."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from support.outcomes import MakeSae, output_of

from sae_research.evals.base import EvalContext
from sae_research.evals.shared.attempts import Attempt
from sae_research.evals.shared.pooling import group_by_memory, pool_texts
from sae_research.measurements import EvalOutput, Measurement
from sae_research.saes.encoding import Encoder


@pytest.mark.parametrize("batch_size", [1, 7, 200])
def test_pooling_is_blind_to_batches_and_padding(context: EvalContext, make_sae: MakeSae, batch_size: int) -> None:
    attempts = [Attempt(make_sae("relu")), Attempt(make_sae("ihtp", k=1))]
    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{i}" for i in rng.integers(3, 58, length)) for length in rng.integers(3, 15, 30)]
    texts += ["", "w5"]
    site = attempts[0].sae.card.site
    channels, codes = pool_texts(
        dataclasses.replace(context, batch_size=batch_size), attempts, texts, site=site, context_size=12
    )
    for i, text in enumerate(texts):
        ids = context.lm.tokenizer(text, add_special_tokens=False)["input_ids"][:11]
        x = context.lm.capture(torch.tensor([[2, *ids]]), site)[:, 1:]
        expected = x.mean(dim=1)[0] if ids else torch.zeros(16)
        torch.testing.assert_close(channels[i], expected, rtol=1e-4, atol=1e-5)
        for attempt in attempts:
            mean_code = attempt.sae.encode(x).mean(dim=1)[0] if ids else torch.zeros(48)
            pooled = codes[attempt]
            assert isinstance(pooled, torch.Tensor)
            torch.testing.assert_close(pooled[i], mean_code, rtol=1e-3, atol=1e-4)


def test_masked_tokens_never_matter(make_sae: MakeSae) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 6, 16, generator=generator)
    real = torch.tensor([[True] * 6, [False] + [True] * 3 + [False] * 2, [False] * 6])
    garbage = torch.where(real[..., None], x, 1e3)
    for sae in (make_sae("relu"), make_sae("ihtp", k=1)):
        means = Encoder(sae).mean_codes(x, real)
        torch.testing.assert_close(Encoder(sae).mean_codes(garbage, real), means)
        assert means[2].abs().max() == 0


@pytest.mark.parametrize(("context_size", "share"), [(4, 0.0), (12, 0.5)])
def test_texts_whose_support_interpolates_are_counted(
    context: EvalContext, make_sae: MakeSae, context_size: int, share: float
) -> None:
    """Each token chooses 3 of 48 atoms in 16 dimensions: three tokens make 9 at most, eleven different ones 16."""
    attempt = Attempt(make_sae("ihtp", k=3))
    texts = [" ".join(f"w{i}" for i in range(3, 15)), "w5 w6", " ".join(f"w{i}" for i in range(20, 32)), "w7"]
    for _ in range(2):
        pool_texts(context, [attempt], texts, site=attempt.sae.card.site, context_size=context_size)
    assert (attempt.supports.sequences, attempt.supports.interpolated) == (8, 8 * share)
    outcome = attempt.finish(lambda: EvalOutput((Measurement("x", 1.0),)))
    assert [(m.metric, m.value) for m in output_of(outcome).measurements] == [("x", 1.0), ("interpolates_here", share)]


def test_groups_fit_the_memory(make_sae: MakeSae) -> None:
    attempts = [Attempt(make_sae("relu", d_sae=n)) for n in (10, 10, 30, 10)]
    groups = group_by_memory(attempts, 5, limit_bytes=4 * 5 * 20)
    assert [[a.sae.card.d_sae for a in group] for group in groups] == [[10, 10], [30], [10]]
