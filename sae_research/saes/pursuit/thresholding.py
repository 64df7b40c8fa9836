"""The first half of hard thresholding pursuit: the atoms most correlated with each token."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sae_research.saes.base import Sae, SaeCard, centred, check_k
from sae_research.saes.kernels import pursuit
from sae_research.saes.kernels.screening import Firing, ScreenedEncoder
from sae_research.saes.solvers.selection import top_k_mask


@dataclass(frozen=True)
class Thresholding:
    """Options of IHTP in all its forms."""

    k: int
    """Atoms that each token adds to its support."""
    nonneg: bool = False
    """Only positive codes: atoms by largest correlation, non-negative least squares."""


def strongest(correlations: Float[Tensor, "*batch d_sae"], settings: Thresholding) -> Bool[Tensor, "*batch d_sae"]:
    """The `k` atoms of largest magnitude other than 0 (non-negative: of largest correlation above 0); overwrites
    `correlations`."""
    return top_k_mask(correlations if settings.nonneg else correlations.abs_(), settings.k)


def chosen_by_token(sae: Sae, tokens: Float[Tensor, "token d_in"]) -> Bool[Tensor, "token d_sae"]:
    """The atoms that each token adds to the support of its sequence; only for SAEs where `chooses_by_token`."""
    return strongest(centred(sae, tokens) @ sae.W_dec.T, sae.settings)


def chooses_by_token(sae: Sae) -> bool:
    """Whether each token adds atoms of its own to the support that it shares with others."""
    return isinstance(sae.settings, Thresholding)


class Chooser:
    """Chooses the atoms of sequences, if the machine allows it without computing all of their correlations."""

    def __init__(self, card: SaeCard, settings: Thresholding) -> None:
        check_k(card, settings.k)
        self._settings = settings
        self._atoms: Tensor | None = None
        self._screened: ScreenedEncoder | None = None

    def choose(
        self, y: Float[Tensor, "seq token d_in"], W_dec: Float[Tensor, "d_sae d_in"]
    ) -> Bool[Tensor, "seq d_sae"]:
        """The union of `strongest` over the tokens of each sequence."""
        screen = self._screen(W_dec)
        codes = screen.encode(y.flatten(0, 1)) if screen is not None else None
        if codes is None:
            correlations = y @ W_dec.T
            if pursuit.serves(correlations):
                return pursuit.mark_strongest(correlations, k=self._settings.k, nonneg=self._settings.nonneg)
            return strongest(correlations, self._settings).any(dim=1)
        chosen = torch.zeros(len(y), len(W_dec), dtype=torch.bool)
        sequences = torch.arange(len(y)).repeat_interleave(codes.counts.view(y.shape[:2]).sum(1))
        chosen[sequences, codes.latents.long()] = True
        return chosen

    def _screen(self, W_dec: Float[Tensor, "d_sae d_in"]) -> ScreenedEncoder | None:
        """The quantised atoms, made at first use and again when the atoms have moved to another device or dtype."""
        k = self._settings.k
        if self._atoms is not W_dec:
            can_screen = ScreenedEncoder.serves(W_dec, k)
            zero = torch.zeros(len(W_dec))
            firing = Firing(zero, zero, torch.ones(len(W_dec)), zero, k, magnitude=not self._settings.nonneg)
            self._screened = ScreenedEncoder(W_dec, firing) if can_screen else None
            self._atoms = W_dec
        return self._screened
