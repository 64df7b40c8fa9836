"""Who does which job next, and what becomes of a job whose worker is lost. Knows neither Ray nor torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from sae_research.pipeline.jobs import Job

_DEATHS = 2
"""An SAE that was alone with so many workers when they died is given up."""


class CellName(NamedTuple):
    """A cell among those of one run."""

    eval_name: str
    sae: str


@dataclass(frozen=True)
class Report:
    """What became of one job; the cells that it does not name are stored."""

    failures: Mapping[str, str] = field(default_factory=dict)
    """Reason by SAE."""
    out_of_memory: tuple[str, ...] = ()
    """The SAEs for which memory did not suffice; fewer at a time may fit."""
    reused: int = 0
    """Cells that someone else had stored in the meantime."""
    tokens: int = 0
    """Tokens that the language model read."""
    seconds: float = 0.0
    requests: int = 0
    """What judges were sent that are reached over a network."""
    dollars: float = 0.0
    """The most that these can have cost."""


class Ready(NamedTuple):
    """A worker has come up and waits for its first job."""

    worker: str


class Finished(NamedTuple):
    """A worker has come to the end of its job, well or not."""

    worker: str
    report: Report


class Lost(NamedTuple):
    """A worker has died, or cannot be reached; what it had in hand may be unfinished."""

    worker: str
    reason: str


class Stranded(NamedTuple):
    """There is no worker, and none will come."""

    reason: str


Event = Ready | Finished | Lost | Stranded


class Totals(NamedTuple):
    """What became of the cells of a run: each is in one of the three."""

    computed: int
    reused: int
    failures: Mapping[CellName, str]
    """Reason by cell."""


class Pool(Protocol):
    """Workers, wherever they are."""

    def give(self, worker: str, job: Job) -> None:
        """Has a worker that is ready, or has finished, begin `job`."""
        ...

    def wait(self, open_jobs: int) -> Event | None:
        """The next event; None now and then. `open_jobs`: how many could be under way."""
        ...


class Dispatcher:
    """The state of one run: waiting jobs, jobs in hand, cells that failed, and how many others are stored."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.waiting = list(jobs)
        self.in_hand: dict[str, Job] = {}
        self.idle: dict[str, None] = {}
        """Workers without a job, first come first served."""
        self.failures: dict[CellName, str] = {}
        self.computed = 0
        """Cells that workers of this run stored, those of workers that were lost later included."""
        self.reused = 0
        """Cells that someone else stored while this run went on."""
        self._loaded: dict[str, frozenset[str]] = {}
        """By worker the SAEs of its last job, which it still holds."""
        self._deaths: Counter[CellName] = Counter()

    @property
    def is_over(self) -> bool:
        """Whether every cell is stored or has failed."""
        return not self.waiting and not self.in_hand

    @property
    def weight_left(self) -> float:
        """What is still to be done, in the unit of `Job.weight`."""
        return sum(job.weight for job in (*self.waiting, *self.in_hand.values()))

    def take_in(self, event: Event, missing: Callable[[Job], Collection[str]]) -> Job | None:
        """Notes what happened; returns the job that it ended, if any. `missing`: those SAEs of a job not stored."""
        match event:
            case Ready(worker):
                self.idle[worker] = None
            case Finished(worker, report):
                self.idle[worker] = None
                job = self.in_hand.pop(worker)
                self._settle(job, report)
                return job
            case Lost(worker, reason):
                self.idle.pop(worker, None)
                self._loaded.pop(worker, None)
                job = self.in_hand.pop(worker, None)
                if job is not None:
                    self._give_back(self._unfinished(job, missing), reason)
                return job
            case Stranded(reason):
                self._give_up(reason, missing)
        return None

    def assign(self) -> list[tuple[str, Job]]:
        """Jobs for the idle workers, which now have them in hand."""
        given: list[tuple[str, Job]] = []
        for worker in list(self.idle):
            job = self._choose(worker)
            if job is None:
                break
            self.waiting.remove(job)
            del self.idle[worker]
            self.in_hand[worker] = job
            self._loaded[worker] = frozenset(job.saes)
            given.append((worker, job))
        return given

    def _choose(self, worker: str) -> Job | None:
        """The heaviest job of SAEs that the worker has loaded, else of SAEs that nobody has, else of all."""
        mine = self._loaded.get(worker, frozenset())
        others = frozenset().union(*(saes for name, saes in self._loaded.items() if name != worker))
        own = [job for job in self.waiting if not mine.isdisjoint(job.saes)]
        free = own or [job for job in self.waiting if others.isdisjoint(job.saes)]
        return max(free or self.waiting, key=lambda job: job.weight, default=None)

    def _settle(self, job: Job, report: Report) -> None:
        self.computed += len(job.saes) - len(report.failures) - len(report.out_of_memory) - report.reused
        self.reused += report.reused
        for sae, reason in report.failures.items():
            self.failures[CellName(job.eval_name, sae)] = reason
        short = job.of(report.out_of_memory)
        if len(job.saes) == 1 and short.saes:
            self.failures[CellName(job.eval_name, job.saes[0])] = (
                "out of memory, with no other SAE beside it; lower model.llm_batch_size, or use a larger device"
            )
        elif short.saes:
            middle = (len(short.saes) + 1) // 2
            halves = (short.of(short.saes[:middle]), short.of(short.saes[middle:]))
            self.waiting += [half for half in halves if half.saes]

    def _unfinished(self, job: Job, missing: Callable[[Job], Collection[str]]) -> Job:
        """What a lost worker's job lacks. What of it is stored this worker did: it was missing when the run began."""
        unfinished = job.of(missing(job))
        self.computed += len(job.saes) - len(unfinished.saes)
        return unfinished

    def _give_back(self, job: Job, reason: str) -> None:
        """The job's SAEs one by one; one that was alone when its worker died, for the last time."""
        was_alone = len(job.saes) == 1
        for sae in job.saes:
            cell = CellName(job.eval_name, sae)
            self._deaths[cell] += was_alone
            if self._deaths[cell] >= _DEATHS:
                self.failures[cell] = f"its worker died {_DEATHS} times while it measured this SAE alone: {reason}"
            else:
                self.waiting.append(job.of((sae,)))

    def _give_up(self, reason: str, missing: Callable[[Job], Collection[str]]) -> None:
        unfinished = [self._unfinished(job, missing) for job in self.in_hand.values()]
        for job in self.waiting:
            left = job.of(missing(job))
            self.reused += len(job.saes) - len(left.saes)
            unfinished.append(left)
        for job in unfinished:
            self.failures |= {CellName(job.eval_name, sae): reason for sae in job.saes}
        self.waiting.clear()
        self.in_hand.clear()


def dispatch(
    jobs: Sequence[Job],
    pool: Pool,
    *,
    missing: Callable[[Job], Collection[str]],
    watch: Callable[[Dispatcher, Event, Job | None], None],
) -> Totals:
    """Has `pool` do all jobs; all cells that have not failed are stored when this returns.

    `watch` hears of every event, and of the job that it ended.
    """
    state = Dispatcher(jobs)
    while not state.is_over:
        for worker, job in state.assign():
            pool.give(worker, job)
        event = pool.wait(len(state.waiting) + len(state.in_hand))
        if event is not None:
            watch(state, event, state.take_in(event, missing))
    return Totals(state.computed, state.reused, state.failures)
