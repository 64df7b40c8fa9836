"""Simulates `fill` on many workers: the real plan and the real dispatcher, on a virtual clock, with counted costs.

    python -m benchmarks.fill_simulation --workers 64

The case is that of docs/scaling.md: 22 SAEs of 131,072 latents at each of 46 layers of Gemma-2-27B. Nothing is
measured here: seconds are those of `sae_research.pipeline.jobs.COSTS`.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.fake_pool import FakePool, Fate

from sae_research.pipeline.cells import Cell
from sae_research.pipeline.dispatch import dispatch
from sae_research.pipeline.jobs import COSTS, Job, plan_jobs

_SITES, _SAES_AT_A_SITE = 46, 22
_SHAPE = {"d_in": 4608, "d_sae": 131_072}
_SAE_GIGABYTES = 4.84
_LOAD_SECONDS = 2.4
"""An SAE from local NVMe at 2 GB/s."""
_START_SECONDS = 120.0
"""Until a worker has loaded the language model."""
_DAY = 86_400.0


def planned(group: int) -> list[Job]:
    """The jobs of all evals in groups of so many SAEs."""
    entries = [
        {"name": f"s{site}n{number}", "hook_name": f"s{site}", **_SHAPE}
        for site in range(_SITES)
        for number in range(_SAES_AT_A_SITE)
    ]
    cells = {name: [Cell(entry, name, "", {}, {}) for entry in entries] for name in COSTS}
    return plan_jobs(cells, group_gigabytes=group * _SAE_GIGABYTES, engine="native")


def simulated(jobs: Sequence[Job], workers: int, *, failures_a_day: float, seed: int) -> tuple[FakePool, int]:
    """The pool after all jobs are done, and how many cells failed: SAEs that were alone with two workers that died.

    A worker dies `failures_a_day` times a day, and is replaced.
    """
    draw = random.Random(seed)

    def fate(_worker: str, job: Job) -> Fate:
        return "dies half way" if draw.random() < failures_a_day * job.weight / _DAY else "done"

    pool = FakePool(
        workers, fate, spares=10**6, start_seconds=_START_SECONDS, load_seconds=_LOAD_SECONDS
    )  # fmt: skip
    totals = dispatch(jobs, pool, missing=pool.missing, watch=lambda *_: None)
    return pool, len(totals.failures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parsed = parser.parse_args()
    print(
        "| SAEs a group | jobs | ideal h | simulated h | SAEs loaded | "
        "a worker dies every 24 h: h | GPU hours lost | cells blamed |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for group in (1, 3, 4, 8, 22):
        jobs = planned(group)
        ideal = sum(job.weight for job in jobs) / parsed.workers / 3600
        calm, _ = simulated(jobs, parsed.workers, failures_a_day=0.0, seed=parsed.seed)
        rough, blamed = simulated(jobs, parsed.workers, failures_a_day=1.0, seed=parsed.seed)
        print(
            f"| {group} | {len(jobs):,} | {ideal:.1f} | {calm.clock / 3600:.1f} | {calm.loads:,} | "
            f"{rough.clock / 3600:.1f} | {rough.lost_seconds / 3600:.0f} | {blamed} |"
        )


if __name__ == "__main__":
    main()
