"""The command line: what would be computed and why, profiles, and the check of the embedded world."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from sae_research.errors import UserError
from sae_research.pipeline.paths import find_paths
from sae_research.pipeline.runtime import run_as_stage

_EPILOG = """\
The pipeline itself is DVC's:
  dvc repro                                    run what is not up to date
  dvc repro core_eval                          one stage and what it needs
  dvc exp run -S eval_types.sparse_probing=false   try a changed parameter
Settings are in params.yaml; results in eval_results/merged/, METRICS.md and images/.
"""


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
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    plan = commands.add_parser("plan", help="list every cell (SAE x eval): cached, or why it is missing")
    plan.set_defaults(run=_plan)
    profile = commands.add_parser("profile", help="write the values of a profile in profiles/ into params.yaml")
    profile.add_argument("name", help="the profile's name; 'embedded' goes back to the default")
    profile.add_argument("--force", action="store_true", help="overwrite values of your own; a copy is kept")
    profile.set_defaults(run=_profile)
    report = commands.add_parser("report", help="print the report on the evals that have run, without the others")
    report.add_argument("--results", type=Path, help="the folder of a run; default: eval_results")
    report.set_defaults(run=_report)
    audit = commands.add_parser("audit", help="say of every metric how far its numbers on these SAEs can be trusted")
    audit.add_argument("--results", type=Path, help="the folder of a finished run; default: eval_results")
    audit.add_argument(
        "--controls", nargs="+", default=[], metavar="SAE", help="controls, for results without that mark"
    )
    audit.set_defaults(run=_audit)
    unlock = commands.add_parser(
        "unlock", help="remove the lock file that a killed dvc left broken; make repro does so"
    )
    unlock.set_defaults(run=_unlock)
    world = commands.add_parser("world", help="the embedded world")
    actions = world.add_subparsers(required=True, metavar="ACTION")
    check = actions.add_parser("check", help="measure the world against its bars, each with an interval")
    check.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        default=[3, 4, 5],
        help="default: 3 4 5, on which no setting of the world or the checks was chosen",
    )
    check.set_defaults(run=_check_world)
    return parser


def _plan(parsed: argparse.Namespace) -> None:
    from sae_research.pipeline.params import load_params
    from sae_research.pipeline.plan import explain_plan

    paths = find_paths()
    show(explain_plan(load_params(paths.params), paths))


def _profile(parsed: argparse.Namespace) -> None:
    from sae_research.pipeline.profiles import write_profile

    paths = find_paths()
    show(write_profile(parsed.name, paths, force=parsed.force))


def _report(parsed: argparse.Namespace) -> None:
    from sae_research.results.report import report_of_folder

    paths = find_paths()
    show(report_of_folder(parsed.results or paths.results, None if parsed.results else paths.published))


def _audit(parsed: argparse.Namespace) -> None:
    from sae_research.results.audit_report import audit_of_folder

    show(audit_of_folder(parsed.results or find_paths().results, parsed.controls))


def _unlock(parsed: argparse.Namespace) -> None:
    from sae_research.pipeline.dvc_lock import remove_broken_lock

    remove_broken_lock(find_paths().root)


def _check_world(parsed: argparse.Namespace) -> None:
    from sae_research.progress import Progress
    from sae_research.world.check import run_world_check

    with Progress("world check") as progress:
        table, passed = run_world_check(parsed.seeds, find_paths().store / "worlds", progress)
    show(table + "\n")
    if not passed:
        raise UserError("the world misses a bar; the table above says which")


def show(text: str) -> None:
    """Prints `text`; UserError where stdout is closed, so that nobody takes an empty answer for one."""
    if sys.stdout is None:  # pyright: ignore[reportUnnecessaryComparison]
        raise UserError("nothing can be printed: stdout is closed")
    sys.stdout.write(text)
