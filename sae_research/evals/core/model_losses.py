"""The losses that do not depend on the SAE: of the model itself, and under zero and mean ablation."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
from torch import Tensor

from sae_research.evals.base import EvalContext
from sae_research.evals.core.sums import SequenceSums
from sae_research.lm.site import Site


class ModelLosses:
    """Those of an earlier run on the same tokens, or sums that grow by blocks."""

    def __init__(self, context: EvalContext, site: Site, tokens: Tensor) -> None:
        self._context = context
        text = hashlib.sha256(tokens.cpu().numpy().tobytes()).hexdigest()
        self._parts = ["losses", site.hook_name, site.centred, list(tokens.shape), text]
        self._known = context.recall(self._parts)
        self._sums = SequenceSums()

    @property
    def are_known(self) -> bool:
        """Whether an earlier run found them."""
        return self._known is not None

    def add(self, block: Mapping[str, Tensor]) -> None:
        """Appends the rows of the next sequences, unless all are known."""
        if self._known is None:
            self._sums.add(block)

    def keep(self) -> None:
        """Keeps them for runs with other SAEs."""
        if self._known is None:
            self._context.keep(self._parts, self._sums.tensors())

    def arrays(self) -> dict[str, np.ndarray]:
        """All rows, by column."""
        known = self._sums.tensors() if self._known is None else self._known
        return {name: column.cpu().numpy() for name, column in known.items()}
