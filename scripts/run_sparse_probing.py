"""Sparse probing of every SAE -> eval_results/sparse_probing/."""

from __future__ import annotations

from sae_research.pipeline.runtime import run_script


def run_sparse_probing() -> None:
    """Imports the stage only once the process is prepared for it."""
    from sae_research.pipeline.stages.evals import eval_stage

    eval_stage("sparse_probing")


if __name__ == "__main__":
    run_script(run_sparse_probing, __doc__)
