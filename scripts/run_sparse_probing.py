"""Sparse probing of every SAE -> eval_results/sparse_probing/."""

from __future__ import annotations

import sys

from sae_research.pipeline.runtime import run_as_stage
from sae_research.pipeline.stages.evals import eval_stage

if __name__ == "__main__":
    sys.exit(run_as_stage(lambda: eval_stage("sparse_probing")))
