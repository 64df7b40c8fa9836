"""Core metrics of every SAE -> eval_results/core/."""

from __future__ import annotations

from sae_research.pipeline.runtime import run_script


def run_core_eval() -> None:
    """Imports the stage only once the process is prepared for it."""
    from sae_research.pipeline.stages.evals import eval_stage

    eval_stage("core")


if __name__ == "__main__":
    run_script(run_core_eval, __doc__)
