"""`python -m sae_research world check`."""

from __future__ import annotations

import argparse

from sae_research.errors import UserError
from sae_research.pipeline.paths import find_paths
from sae_research.stdout import show

HELP = "the embedded world"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    check = actions.add_parser("check", help="measure the world against its bars, each with an interval")
    check.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        default=[3, 4, 5],
        help="default: 3 4 5, on which no setting of the world or the checks was chosen",
    )


def run(parsed: argparse.Namespace) -> None:
    from sae_research.progress import Progress
    from sae_research.world.check import run_world_check

    with Progress("world check") as progress:
        table, passed = run_world_check(parsed.seeds, find_paths().store / "worlds", progress)
    show(table + "\n")
    if not passed:
        raise UserError("the world misses a bar; the table above says which")
