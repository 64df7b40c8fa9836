"""The token rows of the core eval, from its settings; the same for our implementation and SAEBench's."""

from __future__ import annotations

from jaxtyping import Int
from torch import Tensor

from sae_research.data.text import load_texts, rows_in_memory, token_rows
from sae_research.evals.base import EvalContext
from sae_research.evals.core.settings import CoreSettings
from sae_research.sources.memory import GivenRows


def core_rows(context: EvalContext, settings: CoreSettings) -> Int[Tensor, "row position"]:
    """The token rows of the core eval: those for cross-entropy and KL first."""
    n_rows = settings.n_reconstruction_sequences + settings.n_sparsity_sequences
    in_memory = context.hub.given.get(settings.dataset)
    if isinstance(in_memory, GivenRows):
        return rows_in_memory(in_memory, context_size=settings.context_size, n_rows=n_rows)
    return token_rows(
        load_texts(context.hub, settings.dataset, settings.split),
        context.lm.tokenizer,
        context_size=settings.context_size,
        n_rows=n_rows,
        name=f"split {settings.split!r} of data set {settings.dataset!r}",
    )
