"""Where a result holds the latent that separates each class best."""

from __future__ import annotations

BEST_LATENTS = "best_latents"
"""The place in `EvalOutput.unstructured`: by data set, by class, as the first seed draws the texts."""
