"""sae-sensitivity's algorithm, written plainly, finds what the eval finds: the same windows, the same shares."""

from __future__ import annotations

import torch
from support.saes import random_sae
from support.words import D_MODEL, word_texts, words_model

from benchmarks.judged import Subjects, quoting, run_ours, run_plain
from sae_research.data.text import token_rows
from sae_research.evals.windows.corpus import Corpus


def test_both_sides_have_the_same_examples_and_the_same_sensitivity() -> None:
    lm = words_model()
    rows = token_rows(word_texts(5, 300), lm.tokenizer, context_size=48, n_rows=150)
    real = ~torch.isin(rows, torch.tensor(sorted(lm.special_ids)))
    saes = [random_sae("topk", d_in=D_MODEL, d_sae=32, k=3)]
    corpus = Corpus(rows.numpy(), real.numpy(), lm.tokenizer)
    subjects = Subjects(lm, saes, rows, corpus, quoting(word_texts(9, 100)))
    with torch.no_grad():
        [result], _ = run_ours(subjects, 1, 6)
        _, (name, *counts) = run_plain(subjects, saes[0], result)
    assert name == saes[0].card.name
    # So many latents, equal examples of so many, equal shares of so many.
    assert counts == [6, 6, 6]
    shares = [row["sensitivity_0"] for row in result.output.details if row["sensitivity_0"] is not None]
    assert 0 < sum(shares) < len(shares), "the comparison is of numbers between 0 and 1"
