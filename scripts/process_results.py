"""Merge all results -> eval_results/merged/, metrics.json, METRICS.md."""

from __future__ import annotations

import sys

from sae_research.engine.entry import process_stage
from sae_research.runtime import run_as_stage

if __name__ == "__main__":
    sys.exit(run_as_stage(process_stage))
