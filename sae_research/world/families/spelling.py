"""First-letter lines over the tokenizer's own alphabetic tokens, in SAEBench's wording."""

from __future__ import annotations

from collections.abc import Sequence

from sae_research.world.draw import Draw

TEMPLATE = "{word} has the first letter:"
WORD_POSITION = -6
"""The position of the word's token in a prompt that ends with `TEMPLATE`, counted from the end."""


class Spelling:
    """Lines about `words`: alphabetic tokens, each with its leading space where the token has one."""

    name = "spelling"

    def __init__(self, words: Sequence[str]) -> None:
        self.words = words

    def document(self, draw: Draw) -> str:
        """Eight to eleven lines."""
        return "".join(f"\n{line(word)}" for word in draw.sample(self.words, draw.between(8, 11)))

    def prompt(self, draw: Draw, word: str, n_examples: int) -> str:
        """`n_examples` complete lines about other words, then the line about `word` up to its answer."""
        others = [other for other in draw.sample(self.words, n_examples + 1) if other != word][:n_examples]
        return "".join(f"\n{line(other)}" for other in others) + "\n" + TEMPLATE.format(word=word)


def first_letter(word: str) -> str:
    """The capital letter that `word` starts with."""
    return word.strip()[0].upper()


def line(word: str) -> str:
    """The line about `word` with its answer."""
    return f"{TEMPLATE.format(word=word)} {first_letter(word)}"
