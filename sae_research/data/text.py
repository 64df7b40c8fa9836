"""Running text as rows of tokens, cut as SAELens' ActivationsStore cuts them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from sae_research.data.parquet import read_files, split_files
from sae_research.errors import UserError
from sae_research.lm.tokens import bos_id, encode_plain
from sae_research.sources.hub import Hub
from sae_research.sources.memory import GivenRows, GivenTexts

_TEXTS_AT_ONCE = 256
"""Texts given to the tokenizer in one call, which it spreads over threads."""


def load_texts(
    hub: Hub, dataset_id: str, split: str = "train", *, revision: str | None = None, column: str = "text"
) -> Iterator[str]:
    """The texts of a data set's split in the order of its files, each file fetched only when it is reached."""
    given = hub.given.get(dataset_id)
    if isinstance(given, GivenTexts):
        return iter(given.texts)
    files = split_files(hub, dataset_id, split, revision=revision)
    return (text for (text,) in read_files(files, [column]) if text is not None)


def token_rows(
    texts: Iterable[str],
    tokenizer: PreTrainedTokenizerBase,
    *,
    context_size: int,
    n_rows: int | None = None,
    prepend_bos: bool = True,
    name: str | None = None,
) -> Int[Tensor, "row position"]:
    """The first `n_rows` rows of `context_size` tokens (None: all) that the texts give, none of them padded.

    Documents are tokenised one by one without special tokens and put end to end with a bos between them; where a
    row is full the document goes on in the next. With `prepend_bos` each row starts with bos. What is left over
    at the end is dropped. This is SAELens' rule with its default separator 'bos'. `name` is what errors call the texts.
    """
    if n_rows is not None and n_rows < 1:
        raise UserError(f"{n_rows} rows of tokens were asked for, expected at least 1")
    if context_size < 2:
        raise UserError(f"context_size is {context_size}, expected at least 2: bos and one token")
    documents = _encode(texts, tokenizer)
    rows = list(islice(_cut(documents, bos_id(tokenizer), context_size, prepend_bos=prepend_bos), n_rows))
    if len(rows) < (n_rows or 1):
        raise UserError(
            f"{name or 'the texts'}: {len(rows)} rows of {context_size} tokens, needed {n_rows or 1}; "
            "ask for fewer rows (fewer batches), or give a larger data set"
        )
    return torch.tensor(rows, dtype=torch.long)


def given_rows(given: GivenRows, *, context_size: int, n_rows: int) -> Int[Tensor, "row position"]:
    """The first `n_rows` of rows that the caller gave, `context_size` tokens each."""
    rows: Tensor = given.rows
    if len(rows) < n_rows:
        raise UserError(f"{len(rows)} rows of tokens were given, needed {n_rows}; ask for fewer batches, or give more")
    if rows.shape[1] != context_size:
        raise UserError(f"context_size is {context_size}, but the rows given have {rows.shape[1]} tokens")
    return rows[:n_rows].long()


def _encode(texts: Iterable[str], tokenizer: PreTrainedTokenizerBase) -> Iterator[list[int]]:
    stream = iter(texts)
    while chunk := list(islice(stream, _TEXTS_AT_ONCE)):
        yield from encode_plain(tokenizer, chunk)


def _cut(documents: Iterable[list[int]], bos: int, size: int, *, prepend_bos: bool) -> Iterator[list[int]]:
    """Rows of `size` ids; a bos that the document itself begins with is not doubled."""
    row: list[int] = []
    for document in documents:
        done = 0
        while done < len(document):
            wants_bos = bool(row) or prepend_bos  # a separator within a row, a start before it
            if wants_bos and document[done] != bos:
                row.append(bos)
            taken = document[done : done + size - len(row)]
            row += taken
            done += len(taken)
            if len(row) == size:
                yield row
                row = []
