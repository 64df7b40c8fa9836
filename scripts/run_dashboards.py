"""What single latents do on text, for the page -> eval_results/dashboards/."""

from __future__ import annotations

from sae_research.pipeline.runtime import run_script


def run_dashboards() -> None:
    """Imports the stage only once the process is prepared for it."""
    from sae_research.pipeline.stages.evals import eval_stage

    eval_stage("dashboards")


if __name__ == "__main__":
    run_script(run_dashboards, __doc__)
