"""Who takes part in training and tests, and the pairs on which a swap is tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_research.evals.ravel.specs import BASELINE_VARIANTS, SOFT, SOFT_WITH_ERROR, VARIANTS, WITH_ERROR
from sae_research.evals.ravel.swaps import HARD, MaskMode, Swap
from sae_research.evals.shared.attempts import Attempt


@dataclass(eq=False)
class Candidate:
    """The swap of one SAE or baseline for one attribute."""

    swap: Swap
    attempt: Attempt | None = None
    """The SAE's; None for a baseline, whose failure ends the run."""
    name: str = ""
    """The baseline's."""

    @property
    def failed(self) -> bool:
        return self.attempt is not None and self.attempt.error is not None

    def fail(self, error: Exception) -> None:
        """Drops the SAE out, whose first error counts; a baseline's is raised."""
        if self.attempt is None:
            raise error
        if self.attempt.error is None:
            self.attempt.error = error

    def variants(self, coldest: float) -> dict[str, MaskMode]:
        """The ways in which it is tested, by the prefix of their metrics."""
        modes = {
            "": HARD,
            SOFT: MaskMode(coldest),
            WITH_ERROR: MaskMode(with_error=True),
            SOFT_WITH_ERROR: MaskMode(coldest, with_error=True),
        }
        return {prefix: modes[prefix] for prefix in (BASELINE_VARIANTS if self.attempt is None else VARIANTS)}


class Batch(NamedTuple):
    """Pairs, with the activations of their base prompts at the site."""

    base: Int[Tensor, " pair"]
    source: Int[Tensor, " pair"]
    tokens: Int[Tensor, "pair position"]
    x: Float[Tensor, "pair position d"]
    entity: Int[Tensor, " pair"]
    """The position at which the base's activation is replaced."""
    last: Int[Tensor, " pair"]
    target: Int[Tensor, " pair"]
    """The first token of the wanted answer."""

    @property
    def n_pairs(self) -> int:
        return len(self.base)

    def take(self, rows: Int[Tensor, " some"]) -> Batch:
        """These pairs, in this order."""
        return Batch(*(tensor[rows] for tensor in self))

    def between(self, start: int, end: int, *, longest: int) -> Batch:
        """The pairs from `start` to before `end`, without the padding behind `longest` tokens."""
        pairs = Batch(*(tensor[start:end] for tensor in self))
        return pairs._replace(tokens=pairs.tokens[:, :longest], x=pairs.x[:, :longest])

    def with_entity(self, x_entity: Float[Tensor, "pair d"]) -> Float[Tensor, "pair position d"]:
        """The activations with `x_entity` at the entities."""
        rows = torch.arange(self.n_pairs, device=self.x.device)
        return self.x.index_put((rows, self.entity), x_entity.to(self.x.dtype))


def joined(batches: Sequence[Batch]) -> Batch:
    """The pairs of all of them, one after the other."""
    if len(batches) == 1:
        return batches[0]
    return Batch(*(torch.cat(tensors) for tensors in zip(*batches, strict=True)))


class Case(NamedTuple):
    """A swap that is tried on pairs, in one or several modes."""

    candidate: Candidate
    batch: Batch
    modes: Sequence[MaskMode]

    def mixed(self) -> list[Float[Tensor, "pair d"]]:
        """In each mode, the activations that replace those at the entities."""
        return self.candidate.swap.mixed(self.batch.base, self.batch.source, self.modes)
