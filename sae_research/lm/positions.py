"""How long a row of tokens a model can read, how long the rows were that it was trained on, and its positions."""

from __future__ import annotations

import logging
from typing import Any

from torch import Tensor, nn

from sae_research.errors import UserError

log = logging.getLogger(__name__)


class Positions:
    """The positions of a model of the Hugging Face library, from its config and its modules."""

    def __init__(self, model: nn.Module, name: str) -> None:
        config: Any = model.config
        most = getattr(config.get_text_config(), "max_position_embeddings", None)
        self._name = name
        self._most: int | None = most if isinstance(most, int) and most > 0 else None
        # Rotary angles are computed for any position; without them positions are rows of a table.
        self._has_table = not any(buffer.endswith("inv_freq") for buffer, _ in model.named_buffers())
        self._longest_told = 0

    def at_most(self, length: int) -> int:
        """`length`, or the number of positions where these are fewer."""
        return length if self._most is None else min(length, self._most)

    def require(self, length: int) -> None:
        """UserError if there is no position for the last of `length` tokens, a warning if training had no such one."""
        if self._most is None or length <= self._most:
            return
        if self._has_table:
            raise UserError(
                f"{length} tokens in a row, but model {self._name!r} has {self._most} positions; lower context_size "
                "(or the texts' length) to that"
            )
        if length > self._longest_told:
            self._longest_told = length
            log.warning(
                "rows of %d tokens are longer than the %d that model %r was trained on", length, self._most, self._name
            )


def run_inputs(tokens: Tensor, attention_mask: Tensor | None) -> dict[str, Any]:
    """Arguments of a forward run; with padding on the left, positions count real tokens only."""
    inputs: dict[str, Any] = {"input_ids": tokens, "use_cache": False}
    if attention_mask is not None:
        inputs["attention_mask"] = attention_mask.long()
        if not bool(attention_mask[:, 0].all()):
            inputs["position_ids"] = (attention_mask.long().cumsum(dim=1) - 1).clamp(min=0)
    return inputs
