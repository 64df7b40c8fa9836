"""`python -m sae_research fill`."""

from __future__ import annotations

import argparse
import logging
from typing import TYPE_CHECKING

from sae_research.errors import UserError
from sae_research.pipeline.paths import find_paths
from sae_research.stdout import show

if TYPE_CHECKING:
    from sae_research.pipeline.fill import Filling

log = logging.getLogger(__name__)

HELP = (
    "compute the missing cells of all evals, here, as one share of many, or on a Ray cluster; dvc repro then publishes"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--executor", choices=("local", "ray"), help="default: execution.executor of params.yaml")
    parser.add_argument("--address", help="of the Ray cluster: host:port, or auto (default: execution.address)")
    parser.add_argument("--evals", nargs="+", metavar="EVAL", help="default: all that are enabled")
    parser.add_argument("--shard", metavar="I/N", help="share I of N, counted from 1, of all jobs: 3/16")
    parser.add_argument("--dry-run", action="store_true", help="show jobs, hours and gigabytes; compute nothing")


def run(parsed: argparse.Namespace) -> None:
    from sae_research.files import remove_leftovers
    from sae_research.pipeline.fill import plan_fill, read_shard
    from sae_research.pipeline.forecast import describe
    from sae_research.pipeline.params import load_params

    shard = None if parsed.shard is None else read_shard(parsed.shard)
    paths = find_paths()
    params = load_params(paths.params)
    executor = parsed.executor or ("local" if shard else params.execution.executor)
    if shard is not None and executor != "local":
        raise UserError("--shard is one share of the work for this process; leave --executor ray out, or --shard")
    filling = plan_fill(params, paths, parsed.evals, shard)
    if parsed.dry_run:
        show(describe(filling))
        return
    remove_leftovers(paths.store, paths.scratch)
    _fill(filling, executor, parsed.address or params.execution.address, parsed.shard)


def _fill(filling: Filling, executor: str, address: str | None, share: str | None) -> None:
    """Computes what is missing; UserError with the reasons where cells failed."""
    from sae_research.pipeline.fill import fill, log_folder, logged_to
    from sae_research.pipeline.pools.local import LocalPool
    from sae_research.progress import Progress

    logs = log_folder(filling.run.paths.store, share)
    with logged_to(logs, "run"):
        log.info(
            "fill%s: %d evals, %d jobs, %d cells: %d to compute, %d reused; log: %s",
            f" {share}" if share else "", len(filling.run.cells), len(filling.jobs), filling.n_cells,
            filling.n_missing, filling.n_cells - filling.n_missing, logs / "run.log",
        )  # fmt: skip
        if executor == "ray":
            from sae_research.pipeline.judge_budget import Purse, paid_jobs
            from sae_research.pipeline.pools.ray import ray_pool

            params = filling.run.params
            purse = Purse(params.judging, paid_jobs(filling.left, params))
            with ray_pool(filling.run, address, logs, purse) as pool:
                totals = fill(filling, pool)
        else:
            with Progress("fill") as progress:
                totals = fill(filling, LocalPool(filling.run, progress, keeps_going=True))
    if totals.failures:
        reasons = "\n".join(f"  {cell.eval_name} of {cell.sae}: {why}" for cell, why in totals.failures.items())
        raise UserError(
            f"fill: {len(totals.failures)} cell(s) failed; the others are stored and will not be computed again:\n"
            f"{reasons}"
        )
