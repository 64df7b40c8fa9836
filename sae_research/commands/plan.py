"""`python -m sae_research plan`."""

from __future__ import annotations

import argparse

from sae_research.pipeline.paths import find_paths
from sae_research.stdout import show

HELP = "list every cell (SAE x eval): cached, or why it is missing"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It has none."""


def run(parsed: argparse.Namespace) -> None:
    from sae_research.pipeline.params import load_params
    from sae_research.pipeline.plan import explain_plan

    paths = find_paths()
    show(explain_plan(load_params(paths.params), paths))
