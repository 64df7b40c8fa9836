"""`python -m sae_research unlock`."""

from __future__ import annotations

import argparse

from sae_research.pipeline.paths import find_paths

HELP = "remove the lock file that a killed dvc left broken; make repro does so"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It has none."""


def run(parsed: argparse.Namespace) -> None:
    from sae_research.pipeline.dvc_lock import remove_broken_lock

    remove_broken_lock(find_paths().root)
