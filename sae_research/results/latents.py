"""What core records of each latent: the one way to it, for health, tables and pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sae_research.measurements import Table

LATENTS = "latents"
"""The name of the table with a row per latent."""
_FIELDS = ("feature_density", "max_decoder_cosine_sim")


@dataclass(frozen=True, eq=False)
class Latents:
    """A number per latent; NaN where there is none."""

    density: np.ndarray
    """The share of real tokens on which it fires."""
    decoder_cosine: np.ndarray
    """The largest cosine of its decoder row with that of another latent."""


def latents_of(tables: Mapping[str, Table]) -> Latents | None:
    """From core's tables; None where they are not core's."""
    table = tables.get(LATENTS)
    if table is None or not table.columns.keys() >= set(_FIELDS):
        return None
    return Latents(*(table[name].astype(np.float64) for name in _FIELDS))
