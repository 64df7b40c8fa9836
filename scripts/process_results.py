"""Merge all results -> eval_results/merged/, metrics.json, METRICS.md."""

from __future__ import annotations

from sae_research.pipeline.runtime import run_script


def process_results() -> None:
    """Imports the stage only once the process is prepared for it."""
    from sae_research.pipeline.stages.process_results import process_results_stage

    process_results_stage()


if __name__ == "__main__":
    run_script(process_results, __doc__)
