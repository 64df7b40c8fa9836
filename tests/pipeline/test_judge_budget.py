"""A run's limits on judges are dealt out to jobs, and never exceeded, whoever dies."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.project import ROOT

from sae_research.judges.records import Message, Request
from sae_research.judges.settings import Judging
from sae_research.pipeline.dispatch import Report
from sae_research.pipeline.jobs import Job
from sae_research.pipeline.judge_budget import Allowance, Purse, allowance_of_share, is_remote
from sae_research.pipeline.params import load_params

DEFAULT = load_params(ROOT / "params.yaml")
PRICES: dict[str, Any] = {"dollars_per_million_input": 1.0, "dollars_per_million_output": 1.0}


def _job(saes: str, eval_name: str = "paid") -> Job:
    return Job(eval_name, tuple(saes), 1.0, 0.1)


def test_a_job_gets_its_part_and_what_it_leaves_goes_to_the_others() -> None:
    jobs = [_job("ab"), _job("cd"), _job("ef")]
    purse = Purse(Judging(max_requests=9, max_dollars=3.0, **PRICES), jobs)
    assert purse.deal("w1", jobs[0]) == Allowance(1.0, 3)
    assert purse.deal("w2", _job("xy", "free")) is None
    assert purse.deal("w2", jobs[1]) == Allowance(1.0, 3)
    # It has asked for nothing: answers were stored.
    purse.settle("w1", Report())
    assert purse.deal("w1", jobs[2]) == Allowance(2.0, 6)
    purse.settle("w1", Report(requests=6, dollars=2.0))
    # Whoever is lost may have spent all; its SAEs come back one by one, and there is nothing for them.
    purse.lose("w2")
    assert purse.deal("w1", _job("c")) == Allowance(0.0, 0)


def test_without_limits_nothing_is_dealt() -> None:
    assert Purse(Judging(), [_job("ab")]).deal("w1", _job("ab")) is None


@settings(deadline=None)
@given(
    st.integers(0, 30),
    st.lists(st.integers(1, 4), min_size=1, max_size=6),
    st.lists(st.tuples(st.booleans(), st.floats(0, 1)), max_size=40),
)
def test_no_pattern_of_deaths_spends_more_than_the_limit(
    limit: int, sizes: list[int], fates: list[tuple[bool, float]]
) -> None:
    jobs = [Job("paid", tuple(f"s{i}n{k}" for k in range(size)), 1.0, 0.1) for i, size in enumerate(sizes)]
    purse, spent, waiting = Purse(Judging(max_requests=limit), jobs), 0, list(jobs)
    for dies, share in fates:
        if not waiting:
            break
        job = waiting.pop(0)
        allowance = purse.deal("w", job)
        assert allowance is not None and allowance.requests is not None
        used = round(allowance.requests * share)
        spent += used
        if dies:
            purse.lose("w")
            waiting += [job.of((sae,)) for sae in job.saes]
        else:
            purse.settle("w", Report(requests=used))
    assert spent <= limit


@given(st.integers(0, 40), st.lists(st.integers(1, 4), max_size=9), st.integers(1, 7))
def test_the_parts_of_all_shares_add_up_to_the_limit(limit: int, sizes: list[int], of: int) -> None:
    judging = Judging(max_requests=limit, max_dollars=4.0, **PRICES)
    sensitivity = replace(DEFAULT.settings["sensitivity"], judge="openai:m")
    params = replace(DEFAULT, judging=judging, settings={**DEFAULT.settings, "sensitivity": sensitivity})
    jobs = [Job("core", ("x",), 9.0, 0.1)]
    jobs += [Job("sensitivity", tuple(f"s{i}n{k}" for k in range(size)), 1.0, 0.1) for i, size in enumerate(sizes)]
    parts = [allowance_of_share(jobs, shard, of, params) for shard in range(1, of + 1)]
    assert sum(part.requests or 0 for part in parts) == (limit if sizes else 0)
    assert sum(part.dollars or 0.0 for part in parts) == pytest.approx(4.0 if sizes else 0.0)


def test_a_limit_that_is_a_part_says_so() -> None:
    account = Allowance(None, 0).account(Judging(max_requests=5))
    reason = account.reserve(Request((Message("user", "a"),), 1))
    assert reason == "judging.max_requests = 0 are spent (a part of the run's 5: several processes share it)"


@pytest.mark.parametrize(
    ("judge", "expected"),
    [("rules", False), ("transformers:m", False), ("replay:openai:m", False), ("openai:m", True)],
)
def test_limits_are_for_judges_behind_a_server(judge: str, expected: bool) -> None:
    assert is_remote(judge) is expected
