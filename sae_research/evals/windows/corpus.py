"""Rows of text as windows that decode to whole characters and end where documents end."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from sae_research.evals.windows.size import BUFFER
from sae_research.judges.prompts import MarkedText

_SHIFT = 3
"""A window is made longer or shorter by at most so many tokens on a side, so that it decodes to whole characters."""
_SHIFTS = sorted(product(range(-_SHIFT, _SHIFT + 1), repeat=2), key=lambda ends: (abs(ends[0]) + abs(ends[1]), ends))
"""How far both ends move, the least first."""
_BROKEN = "\ufffd"
_MARKED_FROM = 0.01
"""Tokens are marked from this share of the latent's largest activation."""


class Corpus:
    """Rows of tokens; special tokens separate documents and are in no window."""

    def __init__(
        self,
        tokens: np.ndarray,
        real: np.ndarray,
        tokenizer: PreTrainedTokenizerBase,
        *,
        to_the_ends: bool = False,
        whole_characters: bool = True,
    ) -> None:
        """`to_the_ends`: windows near the ends of rows are cut. `whole_characters`: others are left out."""
        self.tokens, self.real = tokens, real
        self._to_the_ends, self._whole_characters = to_the_ends, whole_characters
        self._tokenizer: Any = tokenizer
        self._texts: dict[tuple[int, int, int], str] = {}

    @cached_property
    def _bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """For each place the first position of its document in the row, and the position after its last."""
        n, length = self.real.shape
        starts, ends = np.zeros((n, length), dtype=np.int64), np.full((n, length), length, dtype=np.int64)
        for position in range(length):
            before = starts[:, position - 1] if position else np.zeros(n, dtype=np.int64)
            starts[:, position] = np.where(self.real[:, position], before, position + 1)
        for position in reversed(range(length)):
            after = ends[:, position + 1] if position + 1 < length else np.full(n, length)
            ends[:, position] = np.where(self.real[:, position], after, position)
        return starts, ends

    def window(self, row: int, position: int) -> tuple[int, int] | None:
        """The window around a place; None for special tokens, and, where windows must be so, for places near the ends
        of rows and for what does not decode to whole characters."""
        length = self.tokens.shape[1]
        is_inside = self._to_the_ends or BUFFER <= position < length - BUFFER
        if not (is_inside and self.real[row, position]):
            return None
        first, last = int(self._bounds[0][row, position]), int(self._bounds[1][row, position])
        start, end = max(position - BUFFER, first), min(position + BUFFER + 1, last)
        if not self._whole_characters:
            return start, end
        for at, move in _SHIFTS:
            a, b = max(first, start + at), min(last, end + move)
            if a <= position < b and _BROKEN not in self.text(row, a, b):
                return a, b
        return None

    def text(self, row: int, start: int, end: int) -> str:
        """The text of some positions."""
        key = (row, start, end)
        if key not in self._texts:
            self._texts[key] = self._decode(self.tokens[row, start:end].tolist())
        return self._texts[key]

    def _decode(self, tokens: Sequence[int]) -> str:
        return self._tokenizer.decode(tokens, clean_up_tokenization_spaces=False)

    def marked(self, row: int, start: int, end: int, activations: np.ndarray, largest: float) -> MarkedText:
        """The text with its tokens of at least a hundredth of `largest` marked, runs of them as one.

        A character that two tokens share is marked if either is.
        """
        active = activations > _MARKED_FROM * largest
        ends = [*(np.flatnonzero(active[1:] != active[:-1]) + 1).tolist(), end - start]
        tokens = self.tokens[row, start:end].tolist()
        shown = [*(self._decode(tokens[:i]) for i in ends[:-1]), self.text(row, start, end)]
        if any(text.endswith(_BROKEN) for text in shown[:-1]):
            return self._marked_by_token(tokens, active)
        pieces = [text[len(before) :] for before, text in zip(("", *shown), shown, strict=False)]
        return tuple((piece, bool(active[i - 1])) for piece, i in zip(pieces, ends, strict=True) if piece)

    def _marked_by_token(self, tokens: Sequence[int], active: np.ndarray) -> MarkedText:
        """The same where a character lies across the end of a run."""
        pieces: list[tuple[str, bool]] = []
        shown = ""
        is_marked = False
        for i, of_token in enumerate(active.tolist(), start=1):
            is_marked = is_marked or of_token
            text = self._decode(tokens[:i])
            if text.endswith(_BROKEN) and i < len(tokens):
                continue  # In the middle of a character.
            piece, shown = text[len(shown) :], text
            if pieces and pieces[-1][1] == is_marked:
                pieces[-1] = (pieces[-1][0] + piece, is_marked)
            elif piece:
                pieces.append((piece, is_marked))
            is_marked = False
        return tuple(pieces)
