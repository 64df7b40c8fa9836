"""Activations on texts: against dense codes of one text at a time."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from support import words
from support.outcomes import MakeSae

from sae_research.evals.base import EvalContext
from sae_research.evals.sensitivity import activations
from sae_research.evals.sensitivity.activations import Active, Asking, find_activations, tokenize
from sae_research.evals.shared.attempts import Attempt
from sae_research.saes.base import Sae

TEXTS = [
    " ".join(text.split()[:n]) for text, n in zip(words.word_texts(11, 30), [3, 9, 40, 1, 17, 60] * 5, strict=True)
]
LONGEST = 32


def _asking(seed: int) -> Asking:
    """60 pairs of different texts and latents, some with the other sign."""
    rng = np.random.default_rng(seed)
    pairs = rng.permutation(30 * 48)[:60]
    return Asking(pairs // 48, pairs % 48, rng.choice([1, -1], 60, p=[0.7, 0.3]))


def _find(context: EvalContext, *saes: Sae) -> list[list[Active]]:
    tokens = tokenize(context.lm.tokenizer, TEXTS, longest=LONGEST)
    asking = {Attempt(sae): _asking(i) for i, sae in enumerate(saes)}
    with torch.no_grad():
        return list(find_activations(context, asking, tokens, site=saes[0].card.site, longest=LONGEST).values())


@pytest.mark.parametrize("elements", [2**24, 2**11])
def test_they_are_the_codes_of_the_latents(
    word_context: EvalContext, make_sae: MakeSae, monkeypatch: pytest.MonkeyPatch, elements: int
) -> None:
    monkeypatch.setattr(activations, "_ELEMENTS_AT_ONCE", elements)
    saes = [make_sae("topk", k=6), make_sae("relu"), make_sae("mpsae", s=5)]
    tokens = tokenize(word_context.lm.tokenizer, TEXTS, longest=LONGEST)
    n_active = 0
    for number, (sae, found) in enumerate(zip(saes, _find(word_context, *saes), strict=True)):
        asking = _asking(number)
        for text, latent, sign, active in zip(asking.texts, asking.latents, asking.signs, found, strict=True):
            with torch.no_grad():
                x = word_context.lm.capture(torch.tensor([tokens[text].ids]), sae.card.site)
                real = torch.ones(x.shape[:2], dtype=torch.bool)
                real[:, 0] = False
                codes = sign * sae.encode(x, mask=real)[0, 1:, latent].numpy()
            assert np.array_equal(active.places, np.flatnonzero(codes > 0))
            np.testing.assert_allclose(active.activations, codes[codes > 0], rtol=1e-4, atol=1e-5)
            assert active.largest == pytest.approx(max(0.0, codes.max()), rel=1e-4, abs=1e-5)
            n_active += len(active.places)
    assert n_active > 50


def test_neither_company_nor_batches_matter(word_context: EvalContext, make_sae: MakeSae) -> None:
    first, second = make_sae("topk", k=6), make_sae("mpsae", s=5)
    together = _find(dataclasses.replace(word_context, batch_size=3), first, second)
    for one, alone in zip(together[0], _find(word_context, first)[0], strict=True):
        assert np.array_equal(one.places, alone.places)
        np.testing.assert_allclose(one.activations, alone.activations, rtol=1e-5)


def test_texts_are_cut_and_told_where_their_tokens_end(word_context: EvalContext) -> None:
    text, short = " ".join(words.WORDS[:40]), " ".join(words.WORDS[:2])
    whole, two, nothing = tokenize(word_context.lm.tokenizer, [text, short, ""], longest=LONGEST)
    assert (len(whole.ids), whole.is_cut, two.is_cut) == (LONGEST, True, False)
    assert (two.ids[0], two.ends) == (words.BOS, (5, 11))
    assert nothing == ((words.BOS,), (), False)
    assert tokenize(word_context.lm.tokenizer, [], longest=LONGEST) == []
