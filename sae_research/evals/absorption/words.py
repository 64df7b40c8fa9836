"""The words of the first-letter task and their prompts, checked token by token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from transformers import PreTrainedTokenizerBase

from sae_research.errors import UserError
from sae_research.lm.tokens import bos_id, encode_plain
from sae_research.probes.draws import keyed_generator

LETTERS = "abcdefghijklmnopqrstuvwxyz"
_TRAIN_SHARE = 0.8
# SentencePiece's character for a space.
_SPACE = "\u2581"


class Word(NamedTuple):
    """A token of letters only, with or without a space before them."""

    text: str
    token: int

    @property
    def letter(self) -> int:
        """The index of its first letter in the alphabet."""
        return LETTERS.index(self.text.strip()[0].lower())


class Vocabulary(NamedTuple):
    """The words whose token is at the expected position of their prompts, in order of tokens."""

    words: list[Word]
    n_left_out: int
    """Alphabetic tokens that the tokenizer does not produce from their own text there."""


class WordSplit(NamedTuple):
    """Words for training and for testing, each with a prompt."""

    words: list[Word]
    """Training words first."""
    n_train: int
    prompts: list[list[int]]


@dataclass(frozen=True)
class LetterPrompts:
    """Prompts of lines such as "apple has the first letter: A"; the last line, about the word itself, has no answer."""

    tokenizer: PreTrainedTokenizerBase
    template: str
    """The line about a word up to its answer, with a place {word}."""
    position: int
    """The position of the word's token, counted from the end of a prompt."""
    n_examples: int
    """Answered lines about other words."""

    def find_words(self) -> Vocabulary:
        """All words of the tokenizer; a UserError unless most of them are at `position`."""
        words = _alphabetic(self.tokenizer)
        if not words:
            raise UserError(
                "absorption: the tokenizer has no token of ASCII letters only; set 'eval_types.absorption: false'"
            )
        encoded = encode_plain(self.tokenizer, [self._line(word) for word in words])
        in_place = [self._is_in_place(word, ids) for word, ids in zip(words, encoded, strict=True)]
        if 2 * sum(in_place) < len(words):
            misplaced = [i for i, is_in_place in enumerate(in_place) if not is_in_place]
            # A word that is also in the template would make a confusing example.
            shown = next((i for i in misplaced if encoded[i].count(words[i].token) == 1), misplaced[0])
            raise self._wrong_position(words[shown], encoded[shown])
        usable = [word for word, is_in_place in zip(words, in_place, strict=True) if is_in_place]
        return Vocabulary(usable, len(words) - len(usable))

    def draw_words(self, words: Sequence[Word], n: int | None, *, seed: int) -> list[Word]:
        """`n` of the words, drawn, in order of tokens; all where there are no more."""
        if n is None or n >= len(words):
            return list(words)
        drawn = keyed_generator("absorption", seed, "words").choice(len(words), size=n, replace=False)
        return [words[i] for i in sorted(drawn)]

    def draw_split(self, words: Sequence[Word], *, seed: int) -> WordSplit:
        """Four fifths of the words, drawn, for training; a prompt's examples come from the same part as its word."""
        order = keyed_generator("absorption", seed, "split").permutation(len(words))
        n_train = int(_TRAIN_SHARE * len(words))
        if min(n_train, len(words) - n_train) <= self.n_examples:
            raise UserError(
                f"absorption: the tokenizer has {len(words)} words of letters only, expected more than n_examples = "
                f"{self.n_examples} in a fifth of them; set 'eval_types.absorption: false'"
            )
        train, test = ([words[i] for i in part] for part in (order[:n_train], order[n_train:]))
        prompts = [
            *self.draw(train, train, key=("absorption", seed, "train")),
            *self.draw(test, test, key=("absorption", seed, "test")),
        ]
        return WordSplit([*train, *test], n_train, prompts)

    def draw(self, words: Sequence[Word], examples: Sequence[Word], *, key: tuple[str | int, ...]) -> list[list[int]]:
        """The tokens of one prompt per word, BOS first; its example lines are about other words of `examples`."""
        texts = []
        for word in words:
            drawn = keyed_generator(*key, word.token).choice(len(examples), size=self.n_examples + 1, replace=False)
            others = [example for i in drawn if (example := examples[i]).text != word.text][: self.n_examples]
            lines = [f"{self._line(other)} {LETTERS[other.letter].upper()}" for other in others]
            texts.append("".join([*lines, self._line(word)]))
        encoded = encode_plain(self.tokenizer, texts) if texts else []
        for word, ids in zip(words, encoded, strict=True):
            if not self._is_in_place(word, ids):
                raise self._wrong_position(word, ids)
        return [[bos_id(self.tokenizer), *ids] for ids in encoded]

    def _line(self, word: Word) -> str:
        return f"\n{self.template.format(word=word.text)}"

    def _is_in_place(self, word: Word, ids: Sequence[int]) -> bool:
        return len(ids) >= -self.position and ids[self.position] == word.token

    def _wrong_position(self, word: Word, ids: Sequence[int]) -> UserError:
        shown = " ".join(repr(self.tokenizer.decode([i])) for i in ids)
        positions = [place - len(ids) for place, token in enumerate(ids) if token == word.token]
        remedy = f"set it to {positions[0]}" if len(positions) == 1 else "change absorption.prompt_template"
        return UserError(
            f"absorption.prompt_token_pos is {self.position}, but the tokenizer splits the line about "
            f"{word.text!r} into {shown}; {remedy}"
        )


def _alphabetic(tokenizer: PreTrainedTokenizerBase) -> list[Word]:
    tokens: list[str] = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))  # type: ignore[assignment]
    words = []
    for i, token in enumerate(tokens):
        text = tokenizer.convert_tokens_to_string([token])
        # Some tokenizers drop the space at the beginning of a token that is decoded alone.
        if token.startswith(_SPACE) and not text.startswith(" "):
            text = f" {text}"
        letters = text.removeprefix(" ")
        if letters.isascii() and letters.isalpha():
            words.append(Word(text, i))
    return words
