"""Workers that exist on a virtual clock alone: they take as long as jobs weigh, and fail as they are told."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Literal

from sae_research.pipeline.dispatch import CellName, Event, Finished, Lost, Ready, Report, Stranded
from sae_research.pipeline.jobs import Job

Fate = Literal["done", "dies", "dies half way", "out of memory", "raises"]


def always_done(_worker: str, _job: Job) -> Fate:
    """No failure."""
    return "done"


@dataclass
class FakePool:
    """`n_workers` that come up one after the other, and as many more as `spares` where some die."""

    n_workers: int
    fate: Callable[[str, Job], Fate] = always_done
    spares: int = 0
    start_seconds: float = 1.0
    load_seconds: float = 0.0
    """What loading one SAE takes that the worker does not hold."""
    clock: float = 0.0
    given: list[tuple[str, Job]] = field(default_factory=list)
    stored: set[CellName] = field(default_factory=set)
    loads: int = 0
    lost_seconds: float = 0.0
    """Of work that came to nothing."""
    _events: list[tuple[float, int, Event]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _holds: dict[str, frozenset[str]] = field(default_factory=dict)
    _alive: int = 0
    _n_workers_ever: int = 0

    def __post_init__(self) -> None:
        for number in range(self.n_workers):
            self._come_up(self.start_seconds * (1 + number / max(self.n_workers, 1)))

    def _come_up(self, after: float) -> None:
        self._alive += 1
        self._n_workers_ever += 1
        self._later(after, Ready(f"w{self._n_workers_ever}"))

    def _later(self, seconds: float, event: Event) -> None:
        heapq.heappush(self._events, (self.clock + seconds, next(self._numbers), event))

    def give(self, worker: str, job: Job) -> None:
        self.given.append((worker, job))
        new = set(job.saes) - self._holds.get(worker, frozenset())
        self._holds[worker] = frozenset(job.saes)
        self.loads += len(new)
        seconds = job.weight + self.load_seconds * len(new)
        fate = self.fate(worker, job)
        if fate.startswith("dies"):
            half = job.saes[: len(job.saes) // 2] if fate == "dies half way" else ()
            self._store(job, half)
            self.lost_seconds += seconds / 2
            self._later(seconds / 2, Lost(worker, "killed"))
        elif fate == "out of memory":
            self._later(0.1, Finished(worker, Report(out_of_memory=job.saes)))
        elif fate == "raises":
            self._later(0.1, Finished(worker, Report(dict.fromkeys(job.saes, "an error"))))
        else:
            self._store(job, job.saes)
            self._later(seconds, Finished(worker, Report(seconds=seconds)))

    def _store(self, job: Job, saes: Collection[str]) -> None:
        self.stored |= {CellName(job.eval_name, sae) for sae in saes}

    def wait(self, open_jobs: int) -> Event:
        if not self._events:
            assert self._alive == 0, "someone is idle although there is work"
            return Stranded("all workers are lost")
        self.clock, _, event = heapq.heappop(self._events)
        if isinstance(event, Lost):
            self._alive -= 1
            self._holds.pop(event.worker, None)
            if self.spares > 0:
                self.spares -= 1
                self._come_up(self.start_seconds)
        return event

    def missing(self, job: Job) -> list[str]:
        return [sae for sae in job.saes if CellName(job.eval_name, sae) not in self.stored]
