"""`python -m sae_research report`."""

from __future__ import annotations

import argparse
from pathlib import Path

from sae_research.pipeline.paths import find_paths
from sae_research.stdout import show

HELP = "print the report on the evals that have run, without the others"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--results", type=Path, help="the folder of a run; default: eval_results")


def run(parsed: argparse.Namespace) -> None:
    from sae_research.pipeline.params import load_params
    from sae_research.results.report import report_of_folder

    paths = find_paths()
    health = load_params(paths.params).health if paths.params.exists() else None
    show(report_of_folder(parsed.results or paths.results, None if parsed.results else paths.published, health))
