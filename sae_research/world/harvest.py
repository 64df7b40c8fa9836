"""Activations of the world's model at the SAEs' site, harvested once for all SAEs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_research.lm.model import LanguageModel
from sae_research.lm.site import Site

_ROWS_AT_ONCE = 32


class Activations(NamedTuple):
    """Activations of real tokens in random order, scaled by `scale` to a mean norm of sqrt(d)."""

    scaled: Float[Tensor, "token d"]
    scale: float

    def batches(self, size: int) -> Iterator[Float[Tensor, "batch d"]]:
        """All activations once, `size` at a time; an incomplete last batch is dropped."""
        for start in range(0, len(self.scaled) - size + 1, size):
            yield self.scaled[start : start + size]


@torch.no_grad()
def harvest(lm: LanguageModel, site: Site, rows: Int[Tensor, "row position"], *, seed: int) -> Activations:
    """The activations at `site` of every token of `rows` that is not BOS, EOS or padding."""
    x = torch.cat([lm.capture_real(part, site) for part in rows.split(_ROWS_AT_ONCE)])
    x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))]
    scale = float(x.shape[1] ** 0.5 / x.norm(dim=1).mean())
    return Activations(x.mul_(scale), scale)
