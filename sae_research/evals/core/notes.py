"""The latents that core singles out: those that fire most often, and those that fire most rarely."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sae_research.measurements import EvalOutput, LatentNote

_EACH = 10
"""Latents of either kind."""


def core_notes(output: EvalOutput) -> Iterator[LatentNote]:
    """The densest latents, and the rarest of those that fire; of equal ones the first."""
    if "latents" not in output.tables or "feature_density" not in output.tables["latents"].columns:
        return  # SAEBench's own run has no densities of signed codes.
    density = output.tables["latents"]["feature_density"]
    rising = np.lexsort((np.arange(len(density)), density))
    alive = rising[density[rising] > 0]
    falling = np.lexsort((np.arange(len(density)), -density))
    for name, latents in (("among the densest", falling[: len(alive)][:_EACH]), ("among the rarest", alive[:_EACH])):
        for latent in latents.tolist():
            yield LatentNote(latent, name, value=float(density[latent]))
