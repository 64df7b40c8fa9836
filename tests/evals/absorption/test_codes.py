"""Codes of words: read in any batches, gathered by rows or by latents."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from support.letters import SITE, letter_directions, letter_prompts, letters_sae, make_letter_sae

from sae_research.evals.absorption.codes import WordCodes, read_prompts
from sae_research.evals.base import EvalContext
from sae_research.evals.shared.attempts import Attempt
from sae_research.saes.codes import SparseCodes


@pytest.mark.parametrize("batch_size", [1, 7, 500])
def test_reading_is_blind_to_batches_and_padding(context: EvalContext, batch_size: int) -> None:
    letters = letter_prompts(context.lm.tokenizer)
    words = letters.find_words().words[30:50]
    prompts = letters.draw(words, words, key=("x",))
    prompts = [[2, *ids[1 + 7 * (i % 3) :]] for i, ids in enumerate(prompts)]  # Of three lengths.
    attempts = [Attempt(make_letter_sae("ihtp", letter_directions(), k=1)), Attempt(letters_sae())]
    reading = read_prompts(
        dataclasses.replace(context, batch_size=batch_size), attempts, prompts, site=SITE, position=-6
    )
    codes = [reading.codes(attempt).rows(torch.arange(20)) for attempt in attempts]
    for i, ids in enumerate(prompts):
        x = context.lm.capture(torch.tensor([ids]), SITE)
        torch.testing.assert_close(reading.x[i], x[0, -6], rtol=1e-4, atol=1e-5)
        # The prompt is the sequence, without BOS.
        torch.testing.assert_close(codes[0][i], attempts[0].sae.encode(x[:, 1:])[0, -6], rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(codes[1][i], attempts[1].sae.encode(x[0, -6:-5])[0], rtol=1e-4, atol=1e-5)


def test_codes_are_gathered_by_rows_and_by_latents(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    dense = torch.randn(9, 6, generator=generator) * (torch.rand(9, 6, generator=generator) < 0.4)
    dense[4] = 0
    sparse = SparseCodes((dense != 0).sum(dim=1), dense.nonzero()[:, 1], dense[dense != 0])
    for room in (0, 2**20):
        monkeypatch.setattr("sae_research.evals.absorption.codes._DENSE_ELEMENTS", room)
        codes = WordCodes(sparse, 6)
        rows = torch.tensor([4, 8, 0, 4, 3])
        assert torch.equal(codes.rows(rows), dense[rows])
        assert torch.equal(codes.columns(torch.tensor([5, 0, 2])), dense[:, [5, 0, 2]])
