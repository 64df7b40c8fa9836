"""`python -m sae_research profile NAME`."""

from __future__ import annotations

import argparse

from sae_research.pipeline.paths import find_paths
from sae_research.stdout import show

HELP = "write the values of a profile in profiles/ into params.yaml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="the profile's name; 'embedded' goes back to the default")
    parser.add_argument("--force", action="store_true", help="overwrite values of your own; a copy is kept")


def run(parsed: argparse.Namespace) -> None:
    from sae_research.pipeline.profiles import write_profile

    show(write_profile(parsed.name, find_paths(), force=parsed.force))
