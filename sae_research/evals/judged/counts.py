"""How many windows a latent has, and how many latents test a judge. Needs no torch."""

from __future__ import annotations

from typing import NamedTuple

N_KNOWN = 20
"""Artificial latents of either kind: on one word, and of no meaning."""


class Counts(NamedTuple):
    """How many windows of each kind a latent has to have; SAEBench's numbers."""

    top_explain: int = 10
    top_score: int = 2
    weighted_explain: int = 5
    weighted_score: int = 2
    silent: int = 10

    @property
    def n_explain(self) -> int:
        """Windows with marks that a judge is shown."""
        return self.top_explain + self.weighted_explain

    @property
    def n_scored(self) -> int:
        """Windows without marks that a judge is quizzed on."""
        return self.top_score + self.weighted_score + self.silent
