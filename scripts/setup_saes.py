"""Fetch the baseline, derive the variants, add comparison SAEs -> downloaded_saes/ (and world/)."""

from __future__ import annotations

from sae_research.pipeline.runtime import run_script


def setup_saes() -> None:
    """Imports the stage only once the process is prepared for it."""
    from sae_research.pipeline.stages.setup import setup_stage

    setup_stage()


if __name__ == "__main__":
    run_script(setup_saes, __doc__)
