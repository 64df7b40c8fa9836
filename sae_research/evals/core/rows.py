"""The token rows of the core eval, from its settings; the same for our implementation and SAEBench's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from sae_research.data.text import load_texts, rows_in_memory, token_rows
from sae_research.evals.base import EvalContext
from sae_research.evals.core.settings import CoreSettings
from sae_research.lm.tokens import bos_id
from sae_research.saes.base import Sae
from sae_research.sources.memory import GivenRows


class CoreRows(NamedTuple):
    """Rows of tokens, and the documents that they are cut from."""

    tokens: Int[Tensor, "row position"]
    documents: np.ndarray
    """The number of the document that each row begins in: the sampling unit of the intervals."""


def core_rows(
    context: EvalContext, saes: Sequence[Sae], settings: CoreSettings
) -> Iterator[tuple[list[Sae], CoreRows]]:
    """The SAEs that read the same token rows, and these: the rows for cross-entropy and KL first."""
    groups: dict[bool, list[Sae]] = defaultdict(list)
    for sae in saes:
        groups[sae.card.prepend_bos if settings.prepend_bos is None else settings.prepend_bos].append(sae)
    for prepend_bos, group in groups.items():
        yield group, _rows(context, settings, prepend_bos=prepend_bos)


def _rows(context: EvalContext, settings: CoreSettings, *, prepend_bos: bool) -> CoreRows:
    n_rows = settings.n_reconstruction_sequences + settings.n_sparsity_sequences
    in_memory = context.hub.given.get(settings.dataset)
    if isinstance(in_memory, GivenRows):
        bos = bos_id(context.lm.tokenizer) if prepend_bos else None
        tokens = rows_in_memory(in_memory, context_size=settings.context_size, n_rows=n_rows, bos=bos)
        documents = documents_of(tokens, context.lm.special_ids)
        # Rows without any end of a document tell nothing: they are taken to be of one document each.
        return CoreRows(tokens, documents if documents.any() else np.arange(n_rows))
    tokens = token_rows(
        load_texts(context.hub, settings.dataset, settings.split),
        context.lm.tokenizer,
        context_size=settings.context_size,
        n_rows=n_rows,
        prepend_bos=prepend_bos,
        name=f"split {settings.split!r} of data set {settings.dataset!r}",
    )
    return CoreRows(tokens, documents_of(tokens, context.lm.special_ids))


def documents_of(tokens: Int[Tensor, "row position"], special_ids: Collection[int]) -> np.ndarray:
    """The number of the document that each row begins in, where special tokens within rows separate documents.

    A document that begins exactly where a row does is counted to the one before it.
    """
    separators = torch.isin(tokens[:, 1:], torch.tensor(sorted(special_ids), device=tokens.device))
    ends = separators.sum(dim=1).cumsum(dim=0).cpu().numpy()
    return np.concatenate([[0], ends[:-1]])
