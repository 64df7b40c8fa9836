"""Prompts and the answers that are read from them, against plain runs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.questions import FORMAT, SITE, likeliest, some_questions

from sae_research.evals.unlearning.prompts import Prompter, batches, orders_of, right_answers
from sae_research.lm.model import LanguageModel


def test_orders_are_distinct_and_the_given_one_comes_first() -> None:
    assert orders_of(3, 24) == ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
    assert orders_of(4, 4) == ((0, 1, 2, 3), (1, 0, 2, 3), (2, 0, 1, 3), (3, 0, 1, 2))


@pytest.mark.parametrize("protocol", ["letters", "option_text"])
@torch.no_grad()
def test_answers_are_those_of_plain_runs(lm: LanguageModel, protocol: Any) -> None:
    asked = some_questions(30)
    prompts = Prompter(lm.tokenizer, FORMAT, protocol).prompts(asked)
    right = torch.zeros(len(asked), dtype=torch.bool)
    for batch in batches(prompts, pad=0, tokens_at_once=200):
        hidden = lm.resume(SITE, lm.capture(batch.tokens, SITE), batch.tokens)
        right[batch.places] = right_answers(lm, hidden, batch, protocol)
    # The tokenizer knows no letters: all are one word, and the first of equals is the answer.
    expected = [likeliest(lm, q, protocol) == q.answer for q in asked]
    assert right.tolist() == expected
    assert 0 < sum(expected) < len(asked)


def test_prompts_are_taken_with_their_rows_and_reads(lm: LanguageModel) -> None:
    prompts = Prompter(lm.tokenizer, FORMAT, "option_text").prompts(some_questions(6))
    (batch,) = batches(prompts, pad=0, tokens_at_once=10_000)
    taken, rows = batch.take(torch.tensor([4, 1, 4]))
    assert taken.places.tolist() == [int(batch.places[i]) for i in (4, 1, 4)]
    assert torch.equal(taken.tokens, batch.tokens[rows])
    assert torch.equal(batch.owners[rows], torch.tensor([4, 1, 4])[taken.owners])

    def reads_of(of: Any, prompt: int) -> list[tuple[Any, ...]]:
        return [(tuple(of.tokens[row].tolist()), *rest) for row, *rest in of.reads.tolist() if of.owners[row] == prompt]

    for place, prompt in enumerate((4, 1, 4)):
        assert reads_of(taken, place) == reads_of(batch, prompt)
