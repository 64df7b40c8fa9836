"""What an answer adds to a prompt, with tokenizers that put a space mark before any text, and without."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from sae_research.evals.ravel.entities import EntityPrompt
from sae_research.evals.ravel.prompts import Checker, tokenize_prompts
from sae_research.evals.unlearning.prompts import Prompter
from sae_research.evals.unlearning.questions import Question
from sae_research.lm.load import wrap_language_model
from sae_research.lm.model import LanguageModel
from sae_research.lm.site import Site
from sae_research.lm.tokens import encode_continuations, encode_plain


@pytest.fixture(scope="module")
def lm(spaced: PreTrainedTokenizerFast) -> LanguageModel:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(spaced), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=128,
    )  # fmt: skip
    model: Any = LlamaForCausalLM(config).eval().requires_grad_(False)
    return wrap_language_model(model, spaced, name="spaced", revision="none")


def _tokens(tokenizer: PreTrainedTokenizerFast, ids: Any) -> list[str]:
    return tokenizer.convert_ids_to_tokens(list(ids))  # type: ignore[return-value]


def test_a_continuation_is_what_follows_the_prompt(spaced: PreTrainedTokenizerFast) -> None:
    assert _tokens(spaced, encode_plain(spaced, [" Paris"])[0]) == ["\u2581", "\u2581Paris"]
    spelled = encode_continuations(spaced, "it is in", [" Paris", " B", "x"])
    assert [_tokens(spaced, ids) for ids in spelled] == [["\u2581Paris"], ["\u2581B"], ["x"]]
    (changes,) = encode_continuations(spaced, "it is i", ["n"])
    assert _tokens(spaced, changes) == ["\u2581", "n"], "the prompt's own tokens stand"
    assert encode_continuations(spaced, "it is", []) == []


@pytest.mark.parametrize("scheme", ["always", "first", "never"])
def test_of_sentence_pieces_with_a_mark_everywhere_in_front_or_nowhere(scheme: str) -> None:
    """Gemma's and T5's kind; by itself a continuation has another mark in two of the three schemes."""
    pieces = ["<unk>", "\u2581", "it", "is", "in", "Paris", "\u2581it", "\u2581is", "\u2581in", "\u2581Paris", "x"]
    plain = Tokenizer(models.Unigram([(piece, -len(pieces) + len(piece)) for piece in pieces], unk_id=0))
    plain.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)  # type: ignore[assignment]
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, unk_token="<unk>")
    spelled = encode_continuations(tokenizer, "it is in", [" Paris", " is in", "x"])
    assert [_tokens(tokenizer, ids) for ids in spelled] == [["\u2581Paris"], ["\u2581is", "\u2581in"], ["x"]]


def test_without_a_mark_nothing_changes(tokenizer: PreTrainedTokenizerFast) -> None:
    continuations = [" cat", "cat", " 1 2", "!"]
    assert encode_continuations(tokenizer, "the mat", continuations) == encode_plain(tokenizer, continuations)


@torch.no_grad()
def test_ravel_knows_the_answers_first_token(lm: LanguageModel, spaced: PreTrainedTokenizerFast) -> None:
    """A model that goes on with a city is right if that city is the label, and wrong if it is another."""
    site, item = Site(0, "resid_post"), EntityPrompt("Rome", "Country", "%s is in", "Paris", held_out=False)
    asked = tokenize_prompts(lm, [item])
    paris, rome = (spaced.convert_tokens_to_ids(f"\u2581{city}") for city in ("Paris", "Rome"))
    head: Any = lm.plain_model.get_output_embeddings()  # type: ignore[operator]
    x = lm.capture(asked.tokens, site)
    last = lm.resume(site, x, asked.tokens)[0, -1]
    before = head.weight.clone()
    head.weight[paris] = 50 * last
    answers = Checker(lm, None).answer(asked.tokens, site, x, [item], ["Paris"])
    others = Checker(lm, None).answer(asked.tokens, site, x, [item], ["Rome"])
    head.weight.copy_(before)
    assert (answers.first.tolist(), answers.right, others.right) == ([paris], [True], [False])
    assert rome != paris


def test_unlearning_reads_letters_and_options_as_the_model_says_them(spaced: PreTrainedTokenizerFast) -> None:
    question = Question("", "Where is it", ("Paris", "Rome"), 0)
    bracket = "{question}\n{listed}\nAnswer: ("
    [lettered] = Prompter(spaced, bracket, "letters").prompts([question])
    read = [(_tokens(spaced, [r.token])[0], r.option) for r in lettered.reads[0]]
    assert sorted(read) == [("A", 0), ("B", 1), ("\u2581A", 0), ("\u2581B", 1)]
    [spelled] = Prompter(spaced, "{question}\n{listed}\nAnswer:", "option_text").prompts([question])
    assert [(_tokens(spaced, [r.token])[0], r.option) for r in spelled.reads[0]] == [
        ("\u2581Paris", 0), ("\u2581Rome", 1)
    ]  # fmt: skip
