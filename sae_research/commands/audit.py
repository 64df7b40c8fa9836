"""`python -m sae_research audit`."""

from __future__ import annotations

import argparse
from pathlib import Path

from sae_research.pipeline.paths import find_paths
from sae_research.stdout import show

HELP = "say of every metric how far its numbers on these SAEs can be trusted"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--results", type=Path, help="the folder of a finished run; default: eval_results")
    parser.add_argument(
        "--controls", nargs="+", default=[], metavar="SAE", help="controls, for results without that mark"
    )


def run(parsed: argparse.Namespace) -> None:
    from sae_research.results.audit_report import audit_of_folder

    show(audit_of_folder(parsed.results or find_paths().results, parsed.controls))
