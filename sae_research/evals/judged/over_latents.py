"""An SAE's number as a mean over its latents: which of them are left out together, and bins of density."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sae_research.metrics.groups import GROUPS, Grouping, by_number, dealt

DENSITY_ENDS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""The upper ends of the bins of density; a bin holds its lower end, the last one both."""


def latent_groups(places: Sequence[int]) -> Grouping:
    """Latents dealt by their places in the drawn order, so that encoders on one dictionary leave out the same ones.

    Each by itself where there are fewer than there are groups.
    """
    return dealt(len(places)) if len(places) < GROUPS else by_number(np.asarray(places))


def density_bins(densities: Sequence[float]) -> np.ndarray:
    """The bin of each density, as an index of `DENSITY_ENDS`."""
    return np.searchsorted(DENSITY_ENDS[:-1], densities, side="right")
