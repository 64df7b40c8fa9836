"""Token batches: bos first, cut to the context, padded on the right, special tokens marked as not real."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from sae_research.errors import UserError
from sae_research.lm.load import completed_tokenizer
from sae_research.lm.tokens import encode_beginnings, encode_plain, special_ids, tokenize_texts


def test_by_hand(tokenizer: PreTrainedTokenizerFast) -> None:
    a = tokenizer("!", add_special_tokens=False)["input_ids"][0]
    batch = tokenize_texts(tokenizer, ["!", "!!!!!!", "", "!<eos>!"], context_size=4)
    assert batch.tokens.tolist() == [[1, a, 0, 0], [1, a, a, a], [1, 0, 0, 0], [1, a, 2, a]]
    assert batch.real.int().tolist() == [[0, 1, 0, 0], [0, 1, 1, 1], [0, 0, 0, 0], [0, 1, 0, 1]]


def test_same_as_the_tokenizer_with_bos(tokenizer: PreTrainedTokenizerFast) -> None:
    texts = ["the cat sat on the mat and a dog", "words 1 2 3", "Zebras"]
    rust = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    rust.post_processor = TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    with_bos = PreTrainedTokenizerFast(tokenizer_object=rust, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>")
    theirs = with_bos(texts, padding="max_length", truncation=True, max_length=8, return_tensors="pt")["input_ids"]
    assert isinstance(theirs, torch.Tensor)
    for same in (tokenizer, with_bos):
        assert torch.equal(tokenize_texts(same, texts, context_size=8).tokens, theirs)


def test_one_text_does_not_depend_on_the_others(tokenizer: PreTrainedTokenizerFast) -> None:
    texts = ["the cat", "numbers 1 2 3 and words", "a"]
    whole = tokenize_texts(tokenizer, texts, context_size=12)
    for i, text in enumerate(texts):
        alone = tokenize_texts(tokenizer, [text], context_size=12)
        assert torch.equal(alone.tokens[0], whole.tokens[i])


def test_no_texts_and_missing_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    assert tokenize_texts(tokenizer, [], context_size=4).tokens.shape == (0, 4)
    bare = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer)
    assert special_ids(bare) == frozenset()
    with pytest.raises(UserError, match="no bos_token"):
        tokenize_texts(bare, ["a"], context_size=4)
    bare.bos_token = "<bos>"
    with pytest.raises(UserError, match="no pad_token"):
        tokenize_texts(bare, ["a"], context_size=4)


def test_texts_beyond_the_models_context_raise_no_warning(tokenizer: PreTrainedTokenizerFast) -> None:
    warned: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            warned.append(record)

    handler = Keep()
    logging.getLogger("transformers").addHandler(handler)
    fresh = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer, bos_token="<bos>", pad_token="<pad>", model_max_length=8
    )
    tokenize_texts(fresh, ["words " * 500], context_size=4)
    logging.getLogger("transformers").removeHandler(handler)
    assert warned == []


def test_long_texts_are_cut_before_they_are_tokenised(tokenizer: PreTrainedTokenizerFast) -> None:
    rng = np.random.default_rng(0)
    words = ["the", "cat", "numbers", "1", "words,", "far away!", "\n\n", "   "]
    texts = [" ".join(words[i] for i in rng.integers(0, len(words), 4000)) for _ in range(8)]
    texts += ["a" * 20_000, " " * 20_000, "x", ""]
    for n in (1, 11, 127):
        assert encode_beginnings(tokenizer, texts, n) == [ids[:n] for ids in encode_plain(tokenizer, texts)]


def test_long_texts_without_words_of_their_own_are_cut_as_well(spaced: PreTrainedTokenizerFast) -> None:
    """Llama 2's kind merges over the whole text, so that a cut could reach further back."""
    rng = np.random.default_rng(1)
    words = ["Paris", "Rome", "A", "is in", "(", "\n", "xyz", "  "]
    texts = [" ".join(words[i] for i in rng.integers(0, len(words), 3000)) for _ in range(4)]
    for n in (1, 40):
        assert encode_beginnings(spaced, texts, n) == [ids[:n] for ids in encode_plain(spaced, texts)]


def test_bos_and_padding_of_a_tokenizer_that_has_neither(spaced: PreTrainedTokenizerFast) -> None:
    """GPT-2's and Qwen's kind: EOS stands in for both, and none of the three counts."""
    bare = PreTrainedTokenizerFast(tokenizer_object=spaced.backend_tokenizer, eos_token="</s>", padding_side="left")
    eos: Any = bare.convert_tokens_to_ids("</s>")
    batch = tokenize_texts(completed_tokenizer(bare), ["Paris", "A Paris</s>A"], context_size=6)
    ids = encode_plain(spaced, ["Paris", "A Paris</s>A"])
    assert batch.tokens.tolist() == [([eos, *row, *[eos] * 6])[:6] for row in ids]
    assert batch.real.tolist() == [[token != eos for token in row] for row in batch.tokens.tolist()]
    assert bare.padding_side == "right" and special_ids(bare) == {eos}


def test_a_text_of_long_words_is_read_as_far_as_needed() -> None:
    words = [letter * 200 for letter in "abcdef"]
    plain = Tokenizer(models.WordLevel({word: i for i, word in enumerate(["<unk>", *words])}, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
    text = " ".join(words * 20)
    ids = encode_beginnings(PreTrainedTokenizerFast(tokenizer_object=plain), [text], 20)
    assert ids == [([1, 2, 3, 4, 5, 6] * 4)[:20]]
