"""A random model with words among its tokens, whose embeddings hold a direction for each first letter."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from benchmarks.subjects import SPECIAL, Shape, write_model

_WORDS, _LETTERS = 3000, string.ascii_lowercase
_VOCAB = 1024
"""Half of the tokens are words; with fewer, the model's probe does not learn the letters."""
_TEMPLATE = ("has", "the", "first", "letter", ":")


def write_letters_model(shape: Shape, folder: Path, *, seed: int) -> None:
    """Saves a random model of `shape`, with more tokens if these are too few for words, that knows letters."""
    shape = replace(shape, vocab=max(shape.vocab, _VOCAB))
    write_model(shape, folder, seed=seed)
    names = letter_names(shape.vocab, seed=seed)
    letters_tokenizer(names).save_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    teach_letters(model, names, seed=seed)
    model.save_pretrained(folder)


def letter_names(vocab: int, *, seed: int) -> list[str]:
    """The tokens: special ones, the words of absorption's prompts, capitals, made-up words, and w0, w1, ..."""
    rng = np.random.default_rng(seed)
    words: dict[str, None] = dict.fromkeys([*_TEMPLATE, *_LETTERS.upper()])
    while len(words) < min(_WORDS, vocab // 2):
        words["".join(rng.choice(list(_LETTERS), 5))] = None
    return [*SPECIAL, *words, *(f"w{i}" for i in range(vocab - len(SPECIAL) - len(words)))]


def letters_tokenizer(names: Sequence[str]) -> PreTrainedTokenizerFast:
    """A tokenizer of these tokens."""
    plain = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="<eos>"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    return PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>", padding_side="right"
    )


@torch.no_grad()
def teach_letters(model: Any, names: Sequence[str], *, seed: int) -> None:
    """Adds the direction of its first letter to each word's embedding."""
    rows = model.get_input_embeddings().weight
    directions = torch.randn(26, rows.shape[1], generator=torch.Generator().manual_seed(seed)).to(rows)
    directions *= rows.norm(dim=1).mean() / directions.norm(dim=1, keepdim=True)
    tokens = [i for i, name in enumerate(names) if name.isalpha()]
    letters = [_LETTERS.index(names[i][0].lower()) for i in tokens]
    rows[tokens] += 2 * directions[letters]
