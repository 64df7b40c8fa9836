"""The first half of hard thresholding pursuit: the atoms most correlated with each token."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from sae_research.saes.base import SaeCard
from sae_research.saes.parts import native
from sae_research.saes.parts.build import check_k, read_settings
from sae_research.saes.parts.selection import top_k_mask


@dataclass(frozen=True)
class Thresholding:
    """Options of IHTP in all its forms."""

    k: int
    """Atoms that each token adds to its support."""
    nonneg: bool = False
    """Only positive codes: atoms by largest correlation, non-negative least squares."""


def read_thresholding(card: SaeCard) -> Thresholding:
    """The options in the card, refused where no code can have `k` atoms."""
    settings = read_settings(Thresholding, card)
    check_k(card, settings.k)
    return settings


def strongest(correlations: Float[Tensor, "*batch d_sae"], settings: Thresholding) -> Bool[Tensor, "*batch d_sae"]:
    """The `k` atoms of largest magnitude, none at 0 (non-negative: of largest correlation, none below); uses up
    `correlations`."""
    return top_k_mask(correlations if settings.nonneg else correlations.abs_(), settings.k)


def strongest_of_sequence(
    correlations: Float[Tensor, "seq token d_sae"], settings: Thresholding
) -> Bool[Tensor, "seq d_sae"]:
    """The union of `strongest` over the tokens of each sequence; uses up `correlations`."""
    if native.serves(correlations):
        return native.mark_strongest(correlations, k=settings.k, nonneg=settings.nonneg)
    return strongest(correlations, settings).any(dim=1)
