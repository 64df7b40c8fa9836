"""Merge all results -> eval_results/merged/, metrics.json, METRICS.md."""

from __future__ import annotations

import dataclasses
import sys

from sae_research.manifest import read_manifest
from sae_research.params import load_params
from sae_research.paths import find_paths
from sae_research.results.process import process_results
from sae_research.runtime import run_as_stage


def process() -> None:
    """Merges the results of the enabled evals."""
    paths = find_paths()
    enabled = dataclasses.asdict(load_params(paths.params).eval_types)
    process_results(paths, enabled, saes=read_manifest(paths.saes).saes)


if __name__ == "__main__":
    sys.exit(run_as_stage(process))
