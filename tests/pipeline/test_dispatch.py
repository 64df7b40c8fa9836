"""Who does which job, on a virtual clock: order, loaded SAEs, lost workers, poisoned SAEs, too little memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fake_pool import FakePool, Fate

from sae_research.pipeline.dispatch import CellName, dispatch
from sae_research.pipeline.jobs import Job


def _job(eval_name: str, saes: str, weight: float = 1.0) -> Job:
    return Job(eval_name, tuple(saes), weight, 0.1)


def _run(pool: FakePool, jobs: Sequence[Job]) -> dict[CellName, str]:
    n_before = len(pool.stored)
    totals = dispatch(jobs, pool, missing=pool.missing, watch=lambda *_: None)
    failures = dict(totals.failures)
    assert pool.stored | failures.keys() == {CellName(job.eval_name, sae) for job in jobs for sae in job.saes}
    assert pool.stored.isdisjoint(failures)
    assert all(failures.values())
    # Nobody but this run's workers stores anything here, whether they live to tell or not.
    assert (totals.computed, totals.reused) == (len(pool.stored) - n_before, 0)
    return failures


def test_the_heaviest_job_comes_first_and_loaded_saes_are_used_again() -> None:
    jobs = [_job("a", "xy", 9), _job("b", "zw", 8), _job("b", "xy", 1), _job("a", "zw", 2)]
    pool = FakePool(2)
    assert _run(pool, jobs) == {}
    assert [(worker, job.eval_name, job.saes) for worker, job in pool.given] == [
        ("w1", "a", ("x", "y")), ("w2", "b", ("z", "w")), ("w2", "a", ("z", "w")), ("w1", "b", ("x", "y")),
    ]  # fmt: skip
    assert pool.loads == 4


def test_a_worker_leaves_others_the_saes_that_they_have_loaded_as_long_as_there_is_other_work() -> None:
    jobs = [_job("a", "x", 4), _job("b", "x", 3), _job("a", "y", 2)]
    pool = FakePool(2)
    _run(pool, jobs)
    assert [(worker, job.eval_name, job.saes) for worker, job in pool.given] == [
        ("w1", "a", ("x",)), ("w2", "a", ("y",)), ("w2", "b", ("x",)),
    ]  # fmt: skip


@pytest.mark.parametrize("n_workers", [1, 3, 64])
def test_every_number_of_workers_does_the_same_jobs(n_workers: int) -> None:
    jobs = [_job(name, saes, len(saes)) for name in "abc" for saes in ("xyz", "uv", "w")]
    pool = FakePool(n_workers)
    assert _run(pool, jobs) == {}
    assert Counter(job for _, job in pool.given) == Counter(jobs)


def test_a_sae_that_kills_its_worker_is_a_failed_cell_and_its_group_finishes() -> None:
    def poisoned(_worker: str, job: Job) -> Fate:
        return "dies" if "x" in job.saes else "done"

    pool = FakePool(2, poisoned, spares=9)
    failures = _run(pool, [_job("a", "wxyz"), _job("b", "w")])
    assert failures == {("a", "x"): "its worker died 2 times while it measured this SAE alone: killed"}
    alone = [job.saes for _, job in pool.given if "x" in job.saes]
    assert alone == [("w", "x", "y", "z"), ("x",), ("x",)]


def test_what_a_lost_worker_had_stored_is_not_computed_again() -> None:
    fates: list[Fate] = ["dies half way"]
    pool = FakePool(2, lambda *_: fates.pop() if fates else "done", spares=1)
    assert _run(pool, [_job("a", "wxyz")]) == {}
    assert [job.saes for _, job in pool.given] == [("w", "x", "y", "z"), ("y",), ("z",)]


def test_out_of_memory_halves_the_group_before_an_sae_is_blamed() -> None:
    def small(_worker: str, job: Job) -> Fate:
        return "out of memory" if len(job.saes) > 2 or "z" in job.saes else "done"

    pool = FakePool(1, small)
    failures = _run(pool, [_job("a", "vwxyz")])
    assert [job.saes for _, job in pool.given][:3] == [tuple("vwxyz"), tuple("vwx"), tuple("vw")]
    assert failures.keys() == {("a", "z")}
    assert failures[CellName("a", "z")].startswith("out of memory, with no other SAE beside it")


def test_when_all_workers_are_lost_what_is_left_fails_with_the_reason() -> None:
    pool = FakePool(2, lambda *_: "dies half way")
    failures = _run(pool, [_job("a", "wxyz"), _job("b", "wx")])
    assert set(failures.values()) == {"all workers are lost"}
    assert len(pool.stored) == 3
    assert set(_run(FakePool(0), [_job("a", "x")]).values()) == {"all workers are lost"}


def test_a_spare_worker_that_comes_late_takes_what_is_left() -> None:
    fates: list[Fate] = ["done", "dies"]
    pool = FakePool(1, lambda *_: fates.pop() if fates else "done", spares=1, start_seconds=1000.0)
    assert _run(pool, [_job("a", "x"), _job("a", "y")]) == {}
    assert {worker for worker, _ in pool.given} == {"w1", "w2"}


_JOBS = st.lists(
    st.tuples(st.sampled_from("abc"), st.sets(st.sampled_from("uvwxyz"), min_size=1), st.floats(0.1, 100.0)),
    min_size=1, max_size=8, unique_by=lambda job: job[0],
)  # fmt: skip
_FATES = st.lists(st.sampled_from(get_args(Fate)), max_size=30)


@settings(max_examples=150, deadline=None)
@given(_JOBS, _FATES, st.sets(st.sampled_from("uvwxyz"), max_size=2), st.integers(0, 5), st.integers(0, 40))
def test_any_pattern_of_failures_ends_with_every_cell_stored_or_failed_with_a_reason(
    drawn: list[tuple[str, set[str], float]], fates: list[Any], poisoned: set[str], n_workers: int, spares: int
) -> None:
    coming = iter(fates)

    def fate(_worker: str, job: Job) -> Fate:
        if poisoned & {*job.saes}:
            return "dies"
        return next(coming, "done")

    pool = FakePool(n_workers, fate, spares=spares)
    _run(pool, [Job(name, tuple(sorted(saes)), weight, 0.0) for name, saes, weight in drawn])
