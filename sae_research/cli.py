"""The command line: finds the commands of `sae_research/commands/` and runs one."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, cast

from sae_research import commands
from sae_research.pipeline.runtime import run_as_stage
from sae_research.plugins import plugin_names

_EPILOG = """\
The pipeline itself is DVC's:
  dvc repro                                    run what is not up to date
  dvc repro core_eval                          one stage and what it needs
  dvc exp run -S eval_types.sparse_probing=false   try a changed parameter
Settings are in params.yaml; results in eval_results/merged/, METRICS.md and images/.
"""


class Command(Protocol):
    """What each module of `sae_research/commands/` offers."""

    HELP: str
    """What it does, in one line."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Tells the parser what it takes."""
        ...

    def run(self, parsed: argparse.Namespace) -> None:
        """Does the work; imports what is heavy only here."""
        ...


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; the exit code is 0 only if all went well."""
    parsed = _parser().parse_args(arguments)
    work: Callable[[], None] = partial(parsed.run, parsed)
    return run_as_stage(work)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sae_research",
        description="Measure sparse autoencoders on language models.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in plugin_names(commands):
        command = cast(Command, importlib.import_module(f"sae_research.commands.{name}"))
        subparser = subparsers.add_parser(name.replace("_", "-"), help=command.HELP, description=command.HELP)
        command.add_arguments(subparser)
        subparser.set_defaults(run=command.run)
    return parser
