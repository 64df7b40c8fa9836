"""One worker: this process."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

from sae_research.errors import UserError
from sae_research.evals.registry import find_eval
from sae_research.pipeline.dispatch import Event, Finished, Ready, Report
from sae_research.pipeline.jobs import Job
from sae_research.pipeline.planned import PlannedRun
from sae_research.pipeline.turns import in_turn
from sae_research.progress import Progress

if TYPE_CHECKING:
    from sae_research.pipeline.execute import Worker

log = logging.getLogger(__name__)

HERE = "here"
"""The name of the worker."""


class LocalPool:
    """Does jobs one after the other; the language model is loaded for the first.

    An error of a job as a whole, such as a full disk, ends the run, or with `keeps_going` only that job. Errors of
    single SAEs are in reports.
    """

    def __init__(self, run: PlannedRun, progress: Progress, *, keeps_going: bool = False) -> None:
        self._run, self._progress, self._keeps_going = run, progress, keeps_going
        self._is_up = False
        self._given: Job | None = None
        self._worker: Worker | None = None

    def give(self, worker: str, job: Job) -> None:
        """Has the next `wait` do `job`."""
        self._given = job

    def wait(self, open_jobs: int) -> Event:
        """Does the job that was given."""
        if not self._is_up:
            self._is_up = True
            return Ready(HERE)
        assert self._given is not None
        if self._worker is None:
            self._worker = make_worker(self._run)
        report = do_job(self._run, self._worker, self._given, self._progress, keeps_going=self._keeps_going)
        return Finished(HERE, report)


def make_worker(run: PlannedRun) -> Worker:
    """A worker in this process; imports torch, and loads the language model.

    On their way to a GPU weights are in the host's memory, which need not hold those of all processes at once.
    """
    from sae_research.lm.load import find_device
    from sae_research.pipeline.execute import Worker

    with in_turn("loads-a-model") if find_device(run.params.model.device).type == "cuda" else nullcontext():
        return Worker(run.workplace())


def do_job(run: PlannedRun, worker: Worker, job: Job, progress: Progress, *, keeps_going: bool) -> Report:
    """Computes those cells of `job` that nobody has stored in the meantime.

    Where the job as a whole fails it raises, or with `keeps_going` reports the reason for each cell that is not stored.
    """
    wanted = job.of(run.missing(job))
    n_reused = len(job.saes) - len(wanted.saes)
    if not wanted.saes:
        return Report(reused=n_reused)
    account = run.judges.ledger
    requests, dollars = account.requests, account.committed
    try:
        report = worker.compute(find_eval(job.eval_name), run.cells_of(wanted), progress)
    except Exception as error:
        if not keeps_going:
            raise
        reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        log.error("%s failed: %s", job.title, reason, exc_info=None if isinstance(error, UserError) else error)
        report = Report(dict.fromkeys(run.missing(wanted), reason))
    return replace(
        report, reused=n_reused, requests=account.requests - requests, dollars=account.committed - dollars
    )  # fmt: skip
