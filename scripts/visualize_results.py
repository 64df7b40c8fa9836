"""Draw the merged results -> images/, explorer/."""

from __future__ import annotations

from sae_research.pipeline.runtime import run_script


def visualize_results() -> None:
    """Imports the stage only once the process is prepared for it."""
    from sae_research.pipeline.stages.visualize import visualize_stage

    visualize_stage()


if __name__ == "__main__":
    run_script(visualize_results, __doc__)
