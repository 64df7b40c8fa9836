"""Rows of tokens from running text, or from the rows that a caller passed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from jaxtyping import Int
from torch import Tensor

from sae_research.data.text import load_texts, rows_in_memory, token_rows
from sae_research.evals.base import EvalContext
from sae_research.lm.tokens import bos_id
from sae_research.saes.base import Sae
from sae_research.sources.memory import GivenRows


def by_first_token(saes: Sequence[Sae], prepend_bos: bool | None = None) -> dict[bool, list[Sae]]:
    """The SAEs by whether the rows that they read begin with BOS; None: as each was trained."""
    groups: dict[bool, list[Sae]] = defaultdict(list)
    for sae in saes:
        groups[sae.card.prepend_bos if prepend_bos is None else prepend_bos].append(sae)
    return groups


def text_rows(
    context: EvalContext, dataset: str, split: str, *, context_size: int, n_rows: int, prepend_bos: bool
) -> Int[Tensor, "row position"]:
    """The first `n_rows` rows of the text."""
    in_memory = context.hub.given.get(dataset)
    if isinstance(in_memory, GivenRows):
        bos = bos_id(context.lm.tokenizer) if prepend_bos else None
        return rows_in_memory(in_memory, context_size=context_size, n_rows=n_rows, bos=bos)
    return token_rows(
        load_texts(context.hub, dataset, split),
        context.lm.tokenizer,
        context_size=context_size,
        n_rows=n_rows,
        prepend_bos=prepend_bos,
        name=f"split {split!r} of data set {dataset!r}",
    )
