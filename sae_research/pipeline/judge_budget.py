"""A run's limits on judges, where several processes ask at once: each job gets its part, and returns what it leaves.

Whatever they spend, and whichever of them die, it is never more than `judging.max_dollars` and `max_requests`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sae_research.evals.registry import find_eval
from sae_research.judges.ledger import Ledger
from sae_research.judges.names import read_name
from sae_research.judges.settings import Judging
from sae_research.pipeline.dispatch import CellName, Report
from sae_research.pipeline.jobs import Job, share_of
from sae_research.pipeline.params import Params

_ASK_NOBODY = frozenset({"caller", "replay", "rules", "transformers"})
"""Judges in this process, which cost nothing."""


@dataclass(frozen=True)
class Allowance:
    """What may be spent; None: no limit."""

    dollars: float | None
    requests: int | None

    def account(self, judging: Judging) -> Ledger:
        """An account that is held to it; `judging` has prices, and the limits that this is a part of."""
        part = replace(judging, max_dollars=self.dollars, max_requests=self.requests)
        return Ledger(part, whole=judging)


def is_remote(judge: str) -> bool:
    """Whether the judge of that name is reached over a network: the limits are for those."""
    return read_name(judge).provider not in _ASK_NOBODY


def paid_jobs(jobs: Sequence[Job], params: Params) -> list[Job]:
    """The jobs that ask such a judge."""
    settings = {name: params.settings_of(find_eval(name)) for name in {job.eval_name for job in jobs}}
    paid = {name for name, of_eval in settings.items() if find_eval(name).asks(of_eval) and is_remote(of_eval.judge)}
    return [job for job in jobs if job.eval_name in paid]


def allowance_of_share(jobs: Sequence[Job], shard: int, of: int, params: Params) -> Allowance:
    """What share `shard` of all `jobs` may spend, by its number of cells that cost something.

    Of whole numbers of requests the parts of all shares add up to the limit.
    """
    sizes = [sum(len(job.saes) for job in paid_jobs(share_of(jobs, number, of), params)) for number in range(1, of + 1)]
    before, mine, total = sum(sizes[: shard - 1]), sizes[shard - 1], max(sum(sizes), 1)
    dollars, requests = params.judging.max_dollars, params.judging.max_requests
    return Allowance(
        None if dollars is None else dollars * mine / total,
        None if requests is None else requests * (before + mine) // total - requests * before // total,
    )


class Purse:
    """The limits of one run, dealt out to the workers for one job at a time."""

    def __init__(self, judging: Judging, paid: Sequence[Job]) -> None:
        self._dollars, self._requests = judging.max_dollars, judging.max_requests
        self._waiting = {cell for job in paid for cell in _cells(job)}
        """Paid cells that nobody has in hand."""
        self._evals = {job.eval_name for job in paid}
        self._dealt: dict[str, tuple[Job, Allowance]] = {}

    def deal(self, worker: str, job: Job) -> Allowance | None:
        """What the worker may spend on `job`: of what is left the part that it is of the waiting cells.

        None where it asks nobody, or nothing limits it.
        """
        if job.eval_name not in self._evals or (self._dollars is None and self._requests is None):
            return None
        share = len(job.saes) / len(self._waiting.union(_cells(job)))
        self._waiting -= _cells(job)
        allowance = Allowance(
            None if self._dollars is None else self._dollars * share,
            None if self._requests is None else math.ceil(self._requests * share),
        )
        self._take(allowance.dollars, allowance.requests)
        self._dealt[worker] = (job, allowance)
        return allowance

    def settle(self, worker: str, report: Report) -> None:
        """Takes back what the worker has left over from its job; cells that are to be tried again wait."""
        if worker in self._dealt:
            job, allowance = self._dealt.pop(worker)
            self._waiting |= _cells(job.of(report.out_of_memory))
            spare = None if allowance.dollars is None else report.dollars - allowance.dollars
            self._take(spare, None if allowance.requests is None else report.requests - allowance.requests)

    def lose(self, worker: str) -> None:
        """A lost worker may have spent all it had; its cells wait again."""
        if worker in self._dealt:
            self._waiting |= _cells(self._dealt.pop(worker)[0])

    def _take(self, dollars: float | None, requests: int | None) -> None:
        if self._dollars is not None and dollars is not None:
            self._dollars = max(self._dollars - dollars, 0.0)
        if self._requests is not None and requests is not None:
            self._requests -= requests


def _cells(job: Job) -> set[CellName]:
    return {CellName(job.eval_name, sae) for sae in job.saes}
