"""How far a run over all workers is: a line in the log for each job that ends, and each worker that comes or goes."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from sae_research.pipeline.dispatch import Dispatcher, Event, Finished, Lost, Ready, Stranded
from sae_research.pipeline.jobs import Job
from sae_research.progress import duration

log = logging.getLogger(__name__)


class FillProgress:
    """Counts cells, tokens and workers of one run, and logs them."""

    def __init__(self, jobs: Sequence[Job], *, reused: int) -> None:
        self._cells = reused + sum(len(job.saes) for job in jobs)
        self._weight = sum(job.weight for job in jobs)
        self._started = time.monotonic()
        self._workers: set[str] = set()
        self._tokens = self._requests = 0
        self._dollars = 0.0
        self._reused_before = reused

    @property
    def seconds(self) -> float:
        """Since the run began."""
        return time.monotonic() - self._started

    @property
    def tokens_per_second(self) -> float:
        """That the language models of all workers have read."""
        return self._tokens / max(self.seconds, 1e-9)

    def hear(self, state: Dispatcher, event: Event, job: Job | None) -> None:
        """Logs an event, and the job that it ended."""
        match event:
            case Ready(worker):
                self._workers.add(worker)
                log.info("fill: worker %s is ready, the %s", worker, _ordinal(len(self._workers)))
            case Lost(worker, reason):
                self._workers.discard(worker)
                had = "it had nothing in hand" if job is None else f"what {job.title} lacks will be tried again"
                log.warning("fill: worker %s is lost (%s); %s", worker, reason, had)
            case Stranded(reason):
                log.error("fill: %s", reason)
            case Finished(_, report) if job is not None:
                self._tokens += report.tokens
                self._requests += report.requests
                self._dollars += report.dollars
                log.info("%s; %s took %s", self._line(state), job.title, duration(report.seconds))

    @property
    def judged(self) -> str:
        """What all workers that lived to tell asked of judges: `; judges: 120 requests, at most 0.0118 dollars`."""
        cost = f", at most {self._dollars:.4f} dollars" if self._dollars else ""
        return f"; judges: {self._requests:,} requests{cost}" if self._requests else ""

    def _line(self, state: Dispatcher) -> str:
        """`fill: 23 of 133 cells computed, 40 reused, 1 failed; workers: 2, 1,234 tokens/s, about 3 min 8 s left`."""
        ended = self._weight - state.weight_left
        left = f", about {duration(self.seconds * state.weight_left / ended)} left" if ended > 0 else ""
        return (
            f"fill: {state.computed} of {self._cells} cells computed, {self._reused_before + state.reused} reused, "
            f"{len(state.failures)} failed; workers: {len(self._workers)}, {self.tokens_per_second:,.0f} tokens/s{left}"
        )


def _ordinal(n: int) -> str:
    return {1: "first", 2: "second", 3: "third"}.get(n, f"{n}th")
