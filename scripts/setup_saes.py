"""Fetch the baseline, derive the variants, add comparison SAEs -> downloaded_saes/ (and world/)."""

from __future__ import annotations

import sys

from sae_research.pipeline.runtime import run_as_stage


def setup() -> None:
    """Imports torch only once the process is prepared for it."""
    from sae_research.pipeline.stages.setup import setup_stage

    setup_stage()


if __name__ == "__main__":
    sys.exit(run_as_stage(setup))
