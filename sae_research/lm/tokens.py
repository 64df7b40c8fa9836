"""Texts as padded token batches, with a mask of the tokens that count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from sae_research.errors import UserError

_CHARACTERS_PER_TOKEN = 32
_AT_THE_CUT = 32
"""Tokens at the end of a text that is cut, which may be others than in the whole text."""


class TokenBatch(NamedTuple):
    """Right-padded token ids, and which of them are real: none of padding, bos and eos."""

    tokens: Int[Tensor, "batch position"]
    real: Bool[Tensor, "batch position"]


def special_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """The ids of padding, eos and bos, as far as the tokenizer has them. No metric counts these tokens."""
    ids: tuple[Any, ...] = (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.bos_token_id)
    return frozenset(int(i) for i in ids if i is not None)


def encode_plain(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text, without bos, eos or anything else added, and not truncated."""
    # The caller truncates texts that are longer than the model's context, so the tokenizer's warning would mislead.
    return tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]  # type: ignore[return-value]


def encode_beginnings(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], n: int) -> list[list[int]]:
    """The first `n` token ids of each text, as `encode_plain` gives them, without reading texts of megabytes whole."""
    longest = n * _CHARACTERS_PER_TOKEN
    encoded = encode_plain(tokenizer, [text[:longest] for text in texts]) if texts else []
    # Near the cut tokens may be others; a text with so few of them up to there is read whole.
    short = [i for i, text in enumerate(texts) if len(text) > longest and len(encoded[i]) < n + _AT_THE_CUT]
    if short:
        for i, ids in zip(short, encode_plain(tokenizer, [texts[i] for i in short]), strict=True):
            encoded[i] = ids
    return [ids[:n] for ids in encoded]


def encode_continuations(
    tokenizer: PreTrainedTokenizerBase, prompt: str, continuations: Sequence[str]
) -> list[list[int]]:
    """The tokens that each continuation adds to those of `prompt`.

    A continuation by itself can have others: Llama 2's and Mistral's tokenizers put a space mark before any text. Where
    it changes the prompt's own last tokens, which stand, its tokens are those that it has by itself.
    """
    before, *together = encode_plain(tokenizer, [prompt, *(prompt + text for text in continuations)])
    alone = encode_plain(tokenizer, continuations) if continuations else []
    n = len(before)
    return [
        ids[n:] if ids[:n] == before and len(ids) > n else by_itself
        for ids, by_itself in zip(together, alone, strict=True)
    ]


def bos_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The id that starts each sequence."""
    return _required_id(tokenizer.bos_token_id, "bos_token")


def _required_id(value: Any, token: str) -> int:
    if value is None:
        raise UserError(f"the tokenizer has no {token}; add {token!r} to its tokenizer_config.json")
    return int(value)


def tokenize_texts(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], *, context_size: int) -> TokenBatch:
    """One row per text: bos, the text, padding on the right; truncated to `context_size` tokens in all.

    As in SAEBench's probing evals, a token is real unless its id is that of padding, eos or bos.
    """
    start, pad = bos_id(tokenizer), _required_id(tokenizer.pad_token_id, "pad_token")
    tokens = torch.full((len(texts), context_size), pad, dtype=torch.long)
    for row, ids in enumerate(encode_beginnings(tokenizer, texts, context_size - 1)):
        content = [start, *ids]
        tokens[row, : len(content)] = torch.tensor(content)
    special = torch.tensor(sorted(special_ids(tokenizer)))
    return TokenBatch(tokens, ~torch.isin(tokens, special))
