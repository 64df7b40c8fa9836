"""The token rows of the core eval, from its settings; the same for our implementation and SAEBench's."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from sae_research.evals.base import EvalContext
from sae_research.evals.core.settings import CoreSettings
from sae_research.evals.shared.text_rows import by_first_token, text_rows
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
    for prepend_bos, group in by_first_token(saes, settings.prepend_bos).items():
        yield group, _rows(context, settings, prepend_bos=prepend_bos)


def _rows(context: EvalContext, settings: CoreSettings, *, prepend_bos: bool) -> CoreRows:
    n_rows = settings.n_reconstruction_sequences + settings.n_sparsity_sequences
    tokens = text_rows(
        context,
        settings.dataset,
        settings.split,
        context_size=settings.context_size,
        n_rows=n_rows,
        prepend_bos=prepend_bos,
    )
    documents = documents_of(tokens, context.lm.special_ids)
    if isinstance(context.hub.given.get(settings.dataset), GivenRows) and not documents.any():
        # Rows without any end of a document tell nothing: they are taken to be of one document each.
        documents = np.arange(n_rows)
    return CoreRows(tokens, documents)


def documents_of(tokens: Int[Tensor, "row position"], special_ids: Collection[int]) -> np.ndarray:
    """The number of the document that each row begins in, where special tokens within rows separate documents.

    A document that begins exactly where a row does is counted to the one before it.
    """
    separators = torch.isin(tokens[:, 1:], torch.tensor(sorted(special_ids), device=tokens.device))
    ends = separators.sum(dim=1).cumsum(dim=0).cpu().numpy()
    return np.concatenate([[0], ends[:-1]])
