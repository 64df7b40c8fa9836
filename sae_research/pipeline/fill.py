"""Fills the store with the missing cells of all evals, so that `dvc repro` then only publishes."""

from __future__ import annotations

import logging
import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from sae_research.errors import UserError
from sae_research.evals.registry import find_eval
from sae_research.pipeline.dispatch import Pool, Totals, dispatch
from sae_research.pipeline.fill_progress import FillProgress
from sae_research.pipeline.jobs import Job, share_of
from sae_research.pipeline.judge_budget import allowance_of_share
from sae_research.pipeline.params import Params
from sae_research.pipeline.paths import Paths
from sae_research.pipeline.planned import PlannedRun, plan_run
from sae_research.progress import duration

log = logging.getLogger(__name__)

_LOGS_KEPT = 30 * 86_400.0
"""Seconds."""


class Shard(NamedTuple):
    """Share `number`, counted from 1, of `of` shares."""

    number: int
    of: int


def read_shard(text: str) -> Shard:
    """`3/16`; UserError unless it is one of the shares."""
    match = re.fullmatch(r"([0-9]+)/([0-9]+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UserError(
            f"--shard {text}: expected i/n with i from 1 to n, for example 3/16; in a SLURM array "
            "--array=1-16 with --shard $SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT"
        )
    return Shard(int(match[1]), int(match[2]))


def chosen_evals(params: Params, names: Sequence[str] | None) -> list[str]:
    """The enabled evals that look at no results of others, or those `names` among all that are enabled."""
    enabled = params.enabled_evals
    wrong = [name for name in names or () if name not in enabled]
    if wrong:
        raise UserError(f"--evals {' '.join(wrong)}: not enabled in params.yaml; enabled: {', '.join(enabled)}")
    return [name for name in enabled if (not find_eval(name).looks_closer if names is None else name in names)]


def plan_fill(params: Params, paths: Paths, evals: Sequence[str] | None, shard: Shard | None) -> Filling:
    """What a run with these arguments would do."""
    run = plan_run(params, paths, chosen_evals(params, evals))
    jobs = run.jobs if shard is None else share_of(run.jobs, *shard)
    if shard is not None:
        run = replace(run, allowance=allowance_of_share(run.jobs, *shard, params))
    for name in run.cells:
        run.store.adopt(paths.results / name)
    present = set[str]().union(*map(run.stored, run.cells))
    return Filling(run, jobs, run.left(jobs, present))


@dataclass(frozen=True)
class Filling:
    """One run of the command, planned."""

    run: PlannedRun
    jobs: Sequence[Job]
    """Those of the whole plan, or of one share."""
    left: Sequence[Job]
    """What of them is not stored."""

    @property
    def n_cells(self) -> int:
        """Of the whole plan or the share."""
        return sum(len(job.saes) for job in self.jobs)

    @property
    def n_missing(self) -> int:
        """Those of them that are not stored."""
        return sum(len(job.saes) for job in self.left)


class _LogFile(logging.FileHandler):
    """A log on a disk that may be full: what cannot be written waits for room, and stops nobody."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Nothing: the same is on stderr, and errors of the cells say that the disk is full."""

    def close(self) -> None:
        with suppress(OSError):
            super().close()


def log_into(folder: Path, name: str) -> logging.Handler:
    """Has what this package logs also be in `folder/<name>.log`, as long as the handler is not removed."""
    folder.mkdir(parents=True, exist_ok=True)
    handler = _LogFile(folder / f"{name}.log", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logger = logging.getLogger("sae_research")
    logger.setLevel(min(logger.getEffectiveLevel(), logging.INFO))
    logger.addHandler(handler)
    return handler


@contextmanager
def logged_to(folder: Path, name: str) -> Iterator[None]:
    """What this package logs is also in `folder/<name>.log` until the block ends."""
    handler = log_into(folder, name)
    try:
        yield
    finally:
        logging.getLogger("sae_research").removeHandler(handler)
        handler.close()


def log_folder(store: Path, share: str | None) -> Path:
    """A folder for the logs of a new run; those of a month ago go."""
    logs = store / "logs"
    for old in logs.glob("fill-*"):
        # Another run may clear up at the same time.
        with suppress(FileNotFoundError):
            if old.stat().st_mtime < time.time() - _LOGS_KEPT:
                shutil.rmtree(old, ignore_errors=True)
    which = "" if share is None else f"-{share.replace('/', '-of-')}"
    return logs / f"fill-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}{which}"


def fill(filling: Filling, pool: Pool) -> Totals:
    """Has `pool` compute what is missing; every finished cell is stored at once."""
    progress = FillProgress(filling.left, reused=filling.n_cells - filling.n_missing)
    totals = dispatch(filling.left, pool, missing=filling.run.missing, watch=progress.hear)
    totals = totals._replace(reused=totals.reused + filling.n_cells - filling.n_missing)
    log.info(
        "fill: %d cells computed, %d reused, %d failed, %s, %.0f tokens/s%s",
        totals.computed, totals.reused, len(totals.failures), duration(progress.seconds), progress.tokens_per_second,
        progress.judged,
    )  # fmt: skip
    return totals
