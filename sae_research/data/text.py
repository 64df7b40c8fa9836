"""Running text as rows of tokens, cut as SAELens' ActivationsStore cuts them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from sae_research.data.running import documents
from sae_research.errors import UserError
from sae_research.lm.tokens import bos_id, encode_plain
from sae_research.sources.hub import Hub
from sae_research.sources.memory import GivenRows, GivenTexts

_TEXTS_AT_ONCE = 256
"""Texts per call of the tokenizer, which spreads them over threads."""


def load_texts(
    hub: Hub, dataset_id: str, split: str = "train", *, revision: str | None = None, column: str = "text"
) -> Iterator[str]:
    """The texts of a data set's split in the order of its files; each file is fetched when it is reached."""
    in_memory = hub.given.get(dataset_id)
    if isinstance(in_memory, GivenTexts):
        return iter(in_memory.texts)
    return documents(hub, dataset_id, split, revision=revision, column=column)


def token_rows(
    texts: Iterable[str],
    tokenizer: PreTrainedTokenizerBase,
    *,
    context_size: int,
    n_rows: int | None = None,
    prepend_bos: bool = True,
    name: str | None = None,
) -> Int[Tensor, "row position"]:
    """The first `n_rows` rows of `context_size` tokens (None: all) that the texts fill, without padding.

    Documents are tokenised one by one without special tokens and joined with a BOS between them; a document that does
    not fit into a row continues in the next. With `prepend_bos` each row starts with BOS. An incomplete last row is
    dropped. This is SAELens' rule with its default separator 'bos'. Errors call the texts `name`.
    """
    if n_rows is not None and n_rows < 1:
        raise UserError(f"n_rows is {n_rows}, expected at least 1 row of tokens")
    if context_size < 2:
        raise UserError(f"context_size is {context_size}, expected at least 2: BOS and one token")
    rows = list(islice(stream_rows(texts, tokenizer, context_size=context_size, prepend_bos=prepend_bos), n_rows))
    if len(rows) < (n_rows or 1):
        raise UserError(
            f"{name or 'the texts'}: {len(rows)} rows of {context_size} tokens, needed {n_rows or 1}; "
            "ask for fewer rows (fewer batches), or give a larger data set"
        )
    return torch.tensor(rows, dtype=torch.long)


def stream_rows(
    texts: Iterable[str], tokenizer: PreTrainedTokenizerBase, *, context_size: int, prepend_bos: bool = True
) -> Iterator[list[int]]:
    """The rows of `token_rows` one after the other, without holding the text in memory."""
    return _cut(_encode(texts, tokenizer), bos_id(tokenizer), context_size, prepend_bos=prepend_bos)


def rows_in_memory(
    in_memory: GivenRows, *, context_size: int, n_rows: int, bos: int | None
) -> Int[Tensor, "row position"]:
    """The first `n_rows` of the caller's rows, which have `context_size` tokens each and begin with `bos`, if any."""
    rows: Tensor = in_memory.rows
    if len(rows) < n_rows:
        raise UserError(
            f"texts has {len(rows)} rows of tokens, needed {n_rows}; ask for fewer batches, or pass more rows"
        )
    if rows.shape[1] != context_size:
        raise UserError(f"context_size is {context_size}, but the rows of texts have {rows.shape[1]} tokens")
    without = (rows[:n_rows, 0] != bos).nonzero().flatten().tolist() if bos is not None else []
    if without:
        raise UserError(
            f"texts: row {without[0]} begins with token {int(rows[without[0], 0])} ({len(without)} of {n_rows} rows do "
            f"not begin with BOS, {bos}), and a first token's activation is unlike all others; put BOS in front "
            f"(torch.nn.functional.pad(rows, (1, 0), value={bos})), pass texts, or, for SAEs that were trained on such "
            "rows, set core's prepend_bos: false"
        )
    return rows[:n_rows].long()


def _encode(texts: Iterable[str], tokenizer: PreTrainedTokenizerBase) -> Iterator[list[int]]:
    stream = iter(texts)
    while chunk := list(islice(stream, _TEXTS_AT_ONCE)):
        yield from encode_plain(tokenizer, chunk)


def _cut(documents: Iterable[list[int]], bos: int, size: int, *, prepend_bos: bool) -> Iterator[list[int]]:
    """Rows of `size` ids; a BOS at the beginning of a document is not doubled."""
    row: list[int] = []
    for document in documents:
        start = 0
        while start < len(document):
            needs_bos = bool(row) or prepend_bos  # As a separator within a row, or at its start.
            if needs_bos and document[start] != bos:
                row.append(bos)
            part = document[start : start + size - len(row)]
            row += part
            start += len(part)
            if len(row) == size:
                yield row
                row = []
