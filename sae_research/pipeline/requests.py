"""The latents that an eval that looks closer is asked to show: those that the others single out."""

from __future__ import annotations

from collections.abc import Mapping

from sae_research.evals.base import Eval
from sae_research.pipeline.paths import Paths
from sae_research.results.latent_notes import NOTES_FILE, notes_by_sae


def requested_latents(evaluated: Eval, paths: Paths) -> Mapping[str, list[int]]:
    """By SAE, ascending; of no SAE where results have not been merged, and for evals that measure."""
    table = paths.merged / NOTES_FILE
    if not evaluated.looks_closer or not table.exists():
        return {}
    return {sae: sorted({note.latent for note in notes}) for sae, notes in notes_by_sae(table).items()}
