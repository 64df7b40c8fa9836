"""Codes of tokens without their zeros."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor


class SparseCodes(NamedTuple):
    """The codes other than 0 of a run of tokens, in the order of tokens, then latents.

    Three tokens with the codes [0, 5, 0], [0, 0, 0] and [7, 0, 9] have counts [1, 0, 2], latents [1, 0, 2] and values
    [5, 7, 9].
    """

    counts: Int[Tensor, " tokens"]
    """How many codes each token has."""
    latents: Int[Tensor, " codes"]
    values: Float[Tensor, " codes"]

    @property
    def owners(self) -> Int[Tensor, " codes"]:
        """The token of each code; [0, 2, 2] in the example."""
        return torch.arange(len(self.counts), device=self.counts.device).repeat_interleave(self.counts)

    def take(self, tokens: Int[Tensor, " some"]) -> SparseCodes:
        """The codes of some tokens, in the given order.

        In the example, the codes of the three tokens start at [0, 1, 1]. The codes of tokens [2, 0] will start at
        [0, 2]. So places [0, 1, 2] of the result are places [0 + (1 - 0), 1 + (1 - 0), 2 + (0 - 2)] = [1, 2, 0] here.
        """
        counts = self.counts[tokens]
        moves = (self.counts.cumsum(0) - self.counts)[tokens] - (counts.cumsum(0) - counts)
        places = torch.arange(int(counts.sum()), device=counts.device) + moves.repeat_interleave(counts)
        return SparseCodes(counts, self.latents[places], self.values[places])

    def dense(self, d_sae: int) -> Float[Tensor, "tokens d_sae"]:
        """The same codes with their zeros."""
        dense = self.values.new_zeros(len(self.counts) * d_sae)
        dense[self.owners * d_sae + self.latents] = self.values
        return dense.view(len(self.counts), d_sae)

    def columns(self, latents: Int[Tensor, " some"], d_sae: int) -> Float[Tensor, "tokens some"]:
        """The codes of some latents, which must all differ, with their zeros."""
        slots = latents.new_full((d_sae,), -1)
        slots[latents] = torch.arange(len(latents), device=latents.device)
        slot = slots[self.latents.long()]
        wanted = slot >= 0
        columns = self.values.new_zeros(len(self.counts), len(latents))
        columns[self.owners[wanted], slot[wanted]] = self.values[wanted]
        return columns


def sparse_codes(codes: Float[Tensor, "tokens d_sae"]) -> SparseCodes:
    """Dense codes without their zeros."""
    n_tokens, d_sae = codes.shape
    starts = torch.arange(n_tokens, device=codes.device) * d_sae
    places = codes.flatten().nonzero().squeeze(1)
    # Places ascend, so how many lie below a row's end says how many codes the rows up to it have.
    ends = torch.searchsorted(places, starts + d_sae)
    counts = ends.diff(prepend=ends.new_zeros(1))
    return SparseCodes(counts, places - starts.repeat_interleave(counts), codes.take(places))


def no_codes(device: torch.device) -> SparseCodes:
    """The codes of no tokens."""
    whole = torch.zeros(0, dtype=torch.long, device=device)
    return SparseCodes(whole, whole, torch.zeros(0, device=device))


def joined(parts: Iterable[SparseCodes]) -> SparseCodes:
    """The codes of all parts, one part's tokens after the other's."""
    return SparseCodes(*(torch.cat(values) for values in zip(*parts, strict=True)))
