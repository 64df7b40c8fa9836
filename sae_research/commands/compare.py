"""`python -m sae_research compare`."""

from __future__ import annotations

import argparse
from pathlib import Path

from sae_research.pipeline.paths import find_paths
from sae_research.stdout import show

HELP = "compare two SAEs, or an SAE and a baseline, on every metric: paired differences with intervals"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "saes", nargs=2, metavar="SAE", help="names as in results.csv; a difference is the first minus the second"
    )
    parser.add_argument(
        "--metric",
        nargs="+",
        default=[],
        metavar="COLUMN",
        help="columns, or metrics for all of their places; default: those of the report",
    )
    parser.add_argument("--all", action="store_true", help="all columns, not only those of the report")
    parser.add_argument("--results", type=Path, help="the folder of a finished run; default: eval_results")


def run(parsed: argparse.Namespace) -> None:
    from sae_research.results.pair_report import pair_report
    from sae_research.results.replicates import columns_of, read_replicates

    results = parsed.results or find_paths().results
    columns = columns_of(read_replicates(results / "merged")).values()
    show(pair_report(list(columns), *parsed.saes, metrics=parsed.metric, headline_only=not parsed.all))
