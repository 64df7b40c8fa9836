"""One row per sequence and one column per additive quantity, in float64: every scalar is computed from these."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor


class SequenceSums:
    """Grows by blocks of sequences; stays on the device until read, so no block waits for the host."""

    def __init__(self) -> None:
        self._blocks: dict[str, list[Tensor]] = {}

    def add(self, block: Mapping[str, Float[Tensor, " sequences"]]) -> None:
        """Appends the rows of the next sequences; every block has the same names."""
        for name, values in block.items():
            self._blocks.setdefault(name, []).append(values.to(torch.float64))

    def tensors(self) -> dict[str, Float[Tensor, " sequences"]]:
        """All rows so far, by column."""
        return {name: torch.cat(blocks) for name, blocks in self._blocks.items()}

    def arrays(self) -> dict[str, np.ndarray]:
        """All rows so far, by column, on the host."""
        return {name: column.cpu().numpy() for name, column in self.tensors().items()}


def sum_real(
    values: Float[Tensor, "sequences tokens"], real: Bool[Tensor, "sequences tokens"]
) -> Float[Tensor, " sequences"]:
    """The float64 sum of each sequence's values over its real tokens; the others are never read."""
    return torch.where(real, values.to(torch.float64), 0.0).sum(dim=1)
