"""Matching pursuit as SAELens has it: positive steps, on atoms of any norm, until a token is good enough.

Unlike `mpsae`, which takes the same number of signed steps on unit atoms for every token, it stops at a token when the
norm of its residual falls below a threshold, or when a step takes an atom that the token has already. (One step before
that counts: the atom's code grows once more.)

Costa et al. 2025, From flat to hierarchical: extracting sparse representations with matching pursuit,
https://arxiv.org/abs/2506.03093
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sae_research.device_memory import elements_at_once
from sae_research.records import at_least
from sae_research.saes.about import About
from sae_research.saes.base import DICTIONARY, Sae, centred

ABOUT = About(
    title="Matching pursuit", marker="h", color="#4b2a7b", place=125, sae_lens_names=("matching_pursuit",)
)  # fmt: skip

# Correlations held at a time on a CPU: 64 MiB in float32. Changes memory and speed only.
_BUDGET = 2**24


@dataclass(frozen=True)
class Settings:
    """Options of SAELens' matching pursuit."""

    max_iterations: int
    """Greedy steps per token, at most."""
    residual_threshold: float = 0.01
    """A token ends when the norm of its residual is below this; 0: never for this reason."""
    stop_on_duplicate_support: bool = True
    """Whether a token ends when a step adds no atom to those that it has."""

    def __post_init__(self) -> None:
        at_least(self, max_iterations=1)
        if self.residual_threshold < 0:
            raise ValueError(f"residual_threshold is {self.residual_threshold}, expected at least 0")


@final
class MatchingPursuitSae(Sae):
    """r = x - b_dec; until it stops: j = argmax D r (lowest on ties), v = max(0, D_j r), codes_j += v, r -= v D_j."""

    settings_type = Settings
    settings: Settings
    shapes = DICTIONARY
    atoms_per_token = "max_iterations"

    def encode(
        self, x: Float[Tensor, "*batch d_in"], mask: Bool[Tensor, "*batch"] | None = None
    ) -> Float[Tensor, "*batch d_sae"]:
        y = centred(self, x).reshape(-1, self.card.d_in)
        codes = y.new_zeros(len(y), self.card.d_sae)
        tokens = torch.arange(len(y), device=y.device) if mask is None else mask.reshape(-1).nonzero().squeeze(1)
        at_once = max(1, elements_at_once(tokens.device, on_cpu=_BUDGET) // self.card.d_sae)
        for part in tokens.split(at_once):
            codes[part] = self._pursue(y[part])
        return codes.reshape(*x.shape[:-1], self.card.d_sae)

    def _pursue(self, y: Float[Tensor, "token d_in"]) -> Float[Tensor, "token d_sae"]:
        codes = y.new_zeros(len(y), self.card.d_sae)
        running, residual = torch.arange(len(y), device=y.device), y
        for _ in range(self.settings.max_iterations):
            atom = (residual @ self.W_dec.T).relu_().argmax(dim=1)
            direction = self.W_dec[atom]
            value = (residual * direction).sum(dim=1).relu()
            before = codes[running, atom]
            codes[running, atom] = before + value
            residual = residual - value[:, None] * direction
            goes_on = self._goes_on(before, value, residual)
            running, residual = running[goes_on], residual[goes_on]
            if not len(running):
                break
        return codes

    def _goes_on(
        self, before: Float[Tensor, " token"], value: Float[Tensor, " token"], residual: Float[Tensor, "token d_in"]
    ) -> Bool[Tensor, " token"]:
        """The tokens that are not finished after a step that added `value` to a code that was `before`."""
        goes_on = torch.ones_like(value, dtype=torch.bool)
        if self.settings.stop_on_duplicate_support:
            goes_on &= (before == 0) & (value != 0)
        if self.settings.residual_threshold > 0:
            goes_on &= torch.linalg.vector_norm(residual, dim=1) >= self.settings.residual_threshold
        return goes_on
