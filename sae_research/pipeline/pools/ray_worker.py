"""A worker of a Ray cluster: one process, with the language model loaded once. Ray finds this module by its name."""

from __future__ import annotations

import logging
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sae_research.errors import UserError
from sae_research.pipeline.dispatch import Report
from sae_research.pipeline.fill import log_into
from sae_research.pipeline.jobs import Job
from sae_research.pipeline.judge_budget import Allowance
from sae_research.pipeline.planned import PlannedRun
from sae_research.pipeline.pools.local import do_job, make_worker
from sae_research.pipeline.pools.orders import Order, planned_here
from sae_research.pipeline.runtime import keep_freed_memory
from sae_research.progress import Progress

if TYPE_CHECKING:
    from sae_research.pipeline.execute import Worker

log = logging.getLogger(__name__)


class RayWorker:
    """Answers one call at a time, on its process's main thread."""

    def __init__(self, order: Order, name: str) -> None:
        self._order, self._name = order, name
        self._run: PlannedRun | None = None
        self._worker: Worker | None = None

    def greet(self) -> str:
        """Where it is."""
        return f"{platform.node()}, process {os.getpid()}"

    def prepare(self) -> str | None:
        """Loads the language model; returns why this process cannot take part, if it cannot."""
        log_into(Path(self._order.logs), f"worker-{self._name}")
        if os.environ.get("RAY_AUTH_MODE") != "token":
            return (
                f"the Ray node {platform.node()} was started without RAY_AUTH_MODE=token: anyone could run code on it"
            )
        if sys.platform == "linux":
            keep_freed_memory()
        # Relative paths in params.yaml are the project's.
        os.chdir(self._order.root)
        try:
            self._run = planned_here(self._order)
            self._worker = make_worker(self._run)
        except UserError as error:
            log.error("%s", error)
            return str(error)
        log.info("worker %s: %s", self._name, self.greet())
        return None

    def do(self, eval_name: str, saes: Sequence[str], allowance: Allowance | None) -> Report:
        """Stores the cells of these SAEs under that eval; judges may cost what `allowance` says."""
        assert self._run is not None and self._worker is not None, "prepare comes first"
        if allowance is not None:
            self._run.judges.ledger = allowance.account(self._run.params.judging)
        job = Job(eval_name, tuple(saes), 0.0, 0.0)
        log.info("begins %s", job.title)
        with Progress(eval_name) as progress:
            report = do_job(self._run, self._worker, job, progress, keeps_going=True)
        log.info("ends %s after %.1f s", job.title, report.seconds)
        return report
