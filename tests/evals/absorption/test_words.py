"""The words of the first-letter task, and their prompts."""

from __future__ import annotations

import pytest
from support.letters import TEMPLATE_WORDS, WORDS, letter_prompts, letters_tokenizer
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from sae_research.errors import UserError
from sae_research.evals.absorption.words import Word
from sae_research.lm.model import LanguageModel


def test_words_are_the_alphabetic_tokens(lm: LanguageModel) -> None:
    vocabulary = letter_prompts(lm.tokenizer).find_words()
    assert {word.text for word in vocabulary.words} == {*WORDS, *TEMPLATE_WORDS[:-1], *(chr(65 + i) for i in range(26))}
    assert vocabulary.n_left_out == 0
    assert Word(" Zebra", 7).letter == 25
    assert [word.token for word in vocabulary.words] == sorted(word.token for word in vocabulary.words)


def test_another_position_is_refused_with_the_right_one(lm: LanguageModel) -> None:
    with pytest.raises(UserError, match=r"is -5, but .* 'A' into 'A' 'has' 'the' 'first' .*; set it to -6"):
        letter_prompts(lm.tokenizer, position=-5).find_words()
    with pytest.raises(UserError, match=r"absorption\.prompt_token_pos is -6"):
        letter_prompts(lm.tokenizer, template="{word} starts: ").find_words()


def test_tokens_that_their_text_does_not_give_are_left_out() -> None:
    tokenizer = letters_tokenizer([*WORDS, "naïve", "two words", "x1"])
    tokenizer.add_tokens(["ab cd"])
    assert letter_prompts(tokenizer).find_words().n_left_out == 0
    plain = Tokenizer(
        models.BPE({"<pad>": 0, "a": 1, "b": 2, "ab": 3, "ba": 4, "\n": 5}, [("a", "b")], unk_token="<pad>")
    )
    odd = PreTrainedTokenizerFast(tokenizer_object=plain, pad_token="<pad>", bos_token="<pad>")
    vocabulary = letter_prompts(odd, template="{word}", position=-1).find_words()
    # No merge makes `ba`.
    assert ([word.text for word in vocabulary.words], vocabulary.n_left_out) == (["a", "b", "ab"], 1)


def test_a_limit_draws_words_in_order_of_tokens(lm: LanguageModel) -> None:
    prompts = letter_prompts(lm.tokenizer)
    words = prompts.find_words().words
    drawn = prompts.draw_words(words, 50, seed=0)
    assert len(drawn) == 50
    assert drawn == [word for word in words if word in drawn]
    assert drawn != prompts.draw_words(words, 50, seed=1)
    assert prompts.draw_words(words, len(words) + 1, seed=0) == prompts.draw_words(words, None, seed=0) == words


def test_too_few_words_are_a_user_error(lm: LanguageModel) -> None:
    words = letter_prompts(lm.tokenizer).find_words().words
    with pytest.raises(UserError, match="has 40 words of letters only"):
        letter_prompts(lm.tokenizer).draw_split(words[:40], seed=0)


def test_prompts_hold_ten_answered_lines_about_other_words_of_the_same_part(lm: LanguageModel) -> None:
    prompts = letter_prompts(lm.tokenizer)
    words = prompts.find_words().words
    split = prompts.draw_split(words, seed=0)
    assert sorted(split.words) == sorted(words)
    assert split.n_train == int(0.8 * len(words))
    parts = [{w.text for w in part} for part in (split.words[: split.n_train], split.words[split.n_train :])]
    for i, (word, ids) in enumerate(zip(split.words, split.prompts, strict=True)):
        assert ids[0] == 2
        shown = lm.tokenizer.convert_ids_to_tokens(ids[1:])
        lines = [shown[start : start + 7] for start in range(0, len(shown), 7)]
        assert lines[-1] == [word.text, *TEMPLATE_WORDS]
        assert len(lines) == 11
        examples = [line[0] for line in lines[:-1]]
        assert word.text not in examples
        assert len(set(examples)) == 10
        assert set(examples) <= parts[0 if i < split.n_train else 1]
        assert all(line[1:6] == list(TEMPLATE_WORDS) and line[6] == line[0][0].upper() for line in lines[:-1])
    assert split == prompts.draw_split(words, seed=0)
    assert split.words != prompts.draw_split(words, seed=1).words
    one = prompts.draw(words[5:6], words, key=("x",))
    assert one[0] in prompts.draw(words, words, key=("x",))
