"""Sparse probing of every SAE -> eval_results/sparse_probing/."""

from __future__ import annotations

import sys

from sae_research.engine.eval_stage import eval_stage
from sae_research.runtime import run_as_stage

if __name__ == "__main__":
    sys.exit(run_as_stage(lambda: eval_stage("sparse_probing")))
