"""The words of the first-letter task and their prompts, checked token by token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from transformers import PreTrainedTokenizerBase

from sae_research.errors import UserError
from sae_research.evals.absorption.settings import AbsorptionSettings
from sae_research.lm.tokens import bos_id, encode_plain
from sae_research.probes.draws import keyed_generator

LETTERS = "abcdefghijklmnopqrstuvwxyz"
_TRAIN_SHARE = 0.8
# What SentencePiece writes for a space.
_SPACE = "\u2581"


class Word(NamedTuple):
    """A token of letters alone, but for a space before them."""

    text: str
    token: int

    @property
    def letter(self) -> int:
        """The place of its first letter in the alphabet."""
        return LETTERS.index(self.text.strip()[0].lower())


class Vocabulary(NamedTuple):
    """The words whose prompts have them where the template's position says, in order of their tokens."""

    words: list[Word]
    n_left_out: int
    """Alphabetic tokens that the tokenizer does not make of their own text there."""


def find_words(tokenizer: PreTrainedTokenizerBase, settings: AbsorptionSettings) -> Vocabulary:
    """All words of the tokenizer; a UserError unless most of them stand at `prompt_token_pos`."""
    words = _alphabetic(tokenizer)
    if not words:
        raise UserError(
            "absorption: the tokenizer has no token of ASCII letters alone; switch eval_types.absorption off"
        )
    lines = [f"\n{settings.prompt_template.format(word=word.text)}" for word in words]
    encoded = encode_plain(tokenizer, lines)
    kept = [word for word, ids in zip(words, encoded, strict=True) if _stands_at(ids, word, settings.prompt_token_pos)]
    if 2 * len(kept) < len(words):
        lost = [i for i, ids in enumerate(encoded) if not _stands_at(ids, words[i], settings.prompt_token_pos)]
        # A word of the template itself would make a confusing example.
        shown = next((i for i in lost if encoded[i].count(words[i].token) == 1), lost[0])
        raise _wrong_position(tokenizer, words[shown], encoded[shown], settings)
    return Vocabulary(kept, len(words) - len(kept))


def _alphabetic(tokenizer: PreTrainedTokenizerBase) -> list[Word]:
    tokens: list[str] = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))  # type: ignore[assignment]
    texts = [tokenizer.convert_tokens_to_string([token]) for token in tokens]
    # Some tokenizers drop the space that begins a token when it is decoded alone.
    whole = [
        f" {text}" if token.startswith(_SPACE) and not text.startswith(" ") else text
        for token, text in zip(tokens, texts, strict=True)
    ]
    bare = [text.removeprefix(" ") for text in whole]
    return [Word(whole[i], i) for i, text in enumerate(bare) if text.isascii() and text.isalpha()]


def _stands_at(ids: Sequence[int], word: Word, position: int) -> bool:
    return len(ids) >= -position and ids[position] == word.token


def _wrong_position(
    tokenizer: PreTrainedTokenizerBase, word: Word, ids: Sequence[int], settings: AbsorptionSettings
) -> UserError:
    shown = " ".join(repr(tokenizer.decode([i])) for i in ids)
    found = [place - len(ids) for place, token in enumerate(ids) if token == word.token]
    remedy = f"set it to {found[0]}" if len(found) == 1 else "change absorption.prompt_template"
    return UserError(
        f"absorption.prompt_token_pos is {settings.prompt_token_pos}, but the tokenizer splits the line about "
        f"{word.text!r} into {shown}; {remedy}"
    )


class Split(NamedTuple):
    """Words for training and for testing, each with a prompt."""

    words: list[Word]
    """Training words first."""
    n_train: int
    prompts: list[list[int]]


def draw_split(
    tokenizer: PreTrainedTokenizerBase, words: Sequence[Word], settings: AbsorptionSettings, *, seed: int
) -> Split:
    """Four fifths of the words, drawn, for training; the examples in a prompt are of the word's own part."""
    order = keyed_generator("absorption", seed, "split").permutation(len(words))
    n_train = int(_TRAIN_SHARE * len(words))
    if min(n_train, len(words) - n_train) <= settings.n_examples:
        raise UserError(
            f"absorption: the tokenizer has {len(words)} words of letters alone, a fifth of them must be more than "
            f"n_examples = {settings.n_examples}; switch eval_types.absorption off"
        )
    train, test = ([words[i] for i in part] for part in (order[:n_train], order[n_train:]))
    prompts = [
        *draw_prompts(tokenizer, train, train, settings, key=("absorption", seed, "train")),
        *draw_prompts(tokenizer, test, test, settings, key=("absorption", seed, "test")),
    ]
    return Split([*train, *test], n_train, prompts)


def draw_prompts(
    tokenizer: PreTrainedTokenizerBase,
    words: Sequence[Word],
    examples: Sequence[Word],
    settings: AbsorptionSettings,
    *,
    key: tuple[str | int, ...],
) -> list[list[int]]:
    """The tokens of a prompt for each of `words`, BOS first: lines about others of `examples`, then its own."""
    texts = [_prompt(word, _others(word, examples, settings.n_examples, key), settings) for word in words]
    start = bos_id(tokenizer)
    encoded = encode_plain(tokenizer, texts) if texts else []
    for word, ids in zip(words, encoded, strict=True):
        if not _stands_at(ids, word, settings.prompt_token_pos):
            raise _wrong_position(tokenizer, word, ids, settings)
    return [[start, *ids] for ids in encoded]


def _others(word: Word, examples: Sequence[Word], n: int, key: tuple[str | int, ...]) -> list[Word]:
    """`n` different examples with another text, in random order."""
    generator: np.random.Generator = keyed_generator(*key, word.token)
    drawn = generator.choice(len(examples), size=n + 1, replace=False)
    return [example for i in drawn if (example := examples[i]).text != word.text][:n]


def _prompt(word: Word, examples: Sequence[Word], settings: AbsorptionSettings) -> str:
    lines = [
        f"\n{settings.prompt_template.format(word=example.text)} {LETTERS[example.letter].upper()}"
        for example in examples
    ]
    return f"{''.join(lines)}\n{settings.prompt_template.format(word=word.text)}"
