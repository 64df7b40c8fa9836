"""The plan of jobs: groups by a stated budget, the same on every fleet; shares of it."""

from __future__ import annotations

from typing import Any

import pytest

from sae_research.errors import UserError
from sae_research.pipeline.cells import Cell
from sae_research.pipeline.fill import read_shard
from sae_research.pipeline.jobs import Job, plan_jobs, share_of
from sae_research.reference.registry import Engine

GIGABYTE = {"d_in": 1000, "d_sae": 125_000}
"""An SAE of 1.0 GB and a little."""


def _cells(eval_name: str, sizes: dict[str, int]) -> list[Cell]:
    """`sizes`: SAEs by site."""
    entries: list[dict[str, Any]] = [
        {"name": f"{site}{number}", "hook_name": site, **GIGABYTE} for site, n in sizes.items() for number in range(n)
    ]
    return [Cell(entry, eval_name, entry["name"], {}, {}) for entry in entries]


def _groups(eval_name: str, sizes: dict[str, int], gigabytes: float, engine: Engine = "native") -> list[str]:
    jobs = plan_jobs({eval_name: _cells(eval_name, sizes)}, group_gigabytes=gigabytes, engine=engine)
    return sorted(" ".join(job.saes) for job in jobs)


def test_saes_of_a_site_are_measured_together_up_to_the_budget() -> None:
    assert _groups("core", {"a": 5, "b": 1}, 2.1) == ["a0 a1", "a2 a3", "a4", "b0"]
    assert _groups("core", {"a": 2, "b": 1}, 100.0) == ["a0 a1", "b0"]
    # One that is larger than the budget has a pass of its own.
    assert _groups("core", {"a": 2}, 0.001) == ["a0", "a1"]


def test_an_eval_that_takes_sites_together_has_groups_across_sites() -> None:
    assert _groups("ravel", {"a": 1, "b": 2, "c": 2}, 2.1) == ["a0 b0", "b1 c0", "c1"]
    assert _groups("ravel", {"a": 1, "b": 2}, 2.1, "sae_bench") == ["a0", "b0 b1"]


def test_jobs_stand_in_the_order_of_their_cost_whatever_order_the_evals_have() -> None:
    cells = {name: _cells(name, {"a": 3}) for name in ("absorption", "ravel", "core")}
    jobs = plan_jobs(cells, group_gigabytes=2.1, engine="native")
    assert jobs == plan_jobs(dict(reversed(cells.items())), group_gigabytes=2.1, engine="native")
    assert [job.weight for job in jobs] == sorted((job.weight for job in jobs), reverse=True)
    assert [(job.eval_name, len(job.saes)) for job in jobs[:2]] == [("ravel", 2), ("ravel", 1)]
    assert sum(job.gigabytes for job in jobs) == pytest.approx(9 * 1.0, rel=0.01)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 40])
def test_shares_are_disjoint_and_together_the_plan(n: int) -> None:
    jobs = [Job("core", (str(number),), 1.0, 0.0) for number in range(19)]
    shares = [share_of(jobs, number, n) for number in range(1, n + 1)]
    assert sorted((job for share in shares for job in share), key=jobs.index) == jobs
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("text", ["", "3", "0/3", "4/3", "1/0", "-1/3", "1/3/5", "a/b", "/3", "1.5/3", "١/٣"])
def test_a_wrong_share_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"--shard .*: expected i/n with i from 1 to n, for example 3/16; in a SLURM"):
        read_shard(text)


def test_some_of_a_job_costs_their_share() -> None:
    job = Job("core", ("a", "b", "c", "d"), 8.0, 4.0)
    assert job.of(["c", "a", "other"]) == Job("core", ("a", "c"), 4.0, 2.0)
