"""What each token adds to a text."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from sae_research.lm.tokens import encode_plain


class TokenTexts:
    """The texts of tokens in the middle of a text, remembered; U+FFFD stands for bytes that are no whole character."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        # Alone, many tokenizers leave out a token's space.
        self._before = encode_plain(tokenizer, ["a"])[0][-1:]
        self._known: dict[int, str] = {}

    def of(self, ids: Sequence[int]) -> list[str]:
        """The text of each."""
        new = [token for token in ids if token not in self._known]
        if new:
            [before, *texts] = self._decode([[], *([token] for token in new)])
            for token, text in zip(new, texts, strict=True):
                self._known[token] = text.removeprefix(before)
        return [self._known[token] for token in ids]

    def _decode(self, rows: Sequence[Sequence[int]]) -> list[str]:
        whole = [[*self._before, *row] for row in rows]
        return self._tokenizer.batch_decode(whole, clean_up_tokenization_spaces=False)
