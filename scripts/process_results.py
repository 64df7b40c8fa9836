"""Merge all results -> eval_results/merged/, metrics.json, METRICS.md."""

from __future__ import annotations

import sys

from sae_research.pipeline.runtime import run_as_stage
from sae_research.pipeline.stages.process_results import process_results_stage

if __name__ == "__main__":
    sys.exit(run_as_stage(process_results_stage))
