"""`python -m sae_research fill`: the store is filled by one process or by several, and the stages only publish."""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.chat_server import running_chat_server, said
from support.drill import DRILL_STAGE, PLUGINS, assert_whole, drill_project, running, stored
from support.every_eval import EVALS, results_of, run_command, run_stages, unfilled_copy
from support.project import Project, environment
from support.stage_server import StageServer

from sae_research.commands import fill as command
from sae_research.errors import UserError
from sae_research.evals.registry import eval_names
from sae_research.pipeline.fill import read_shard
from sae_research.pipeline.jobs import Job, share_of
from sae_research.pipeline.params import load_params
from sae_research.pipeline.paths import find_paths
from sae_research.pipeline.planned import plan_run
from sae_research.pipeline.pools.orders import digest_of_plan, order_for, planned_here
from sae_research.pipeline.stages.evals import run_eval_stage

N_SAES = 3
EVAL_STAGES = ("core_eval", "sparse_probing_eval", "optional_evals")
TWO_AT_A_TIME = 7.5e-5
"""Gigabytes."""


@pytest.fixture(scope="module")
def unfilled(finished_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Three SAEs and all evals of the tiny world, nothing computed; two SAEs share a pass."""
    folder = tmp_path_factory.mktemp("fill") / "project"
    project = unfilled_copy(finished_project, folder, group_gigabytes=TWO_AT_A_TIME)
    yield project
    shutil.rmtree(project.root)


@pytest.fixture
def project(unfilled: Project, tmp_path: Path) -> Iterator[Project]:
    copy = unfilled.copy_to(tmp_path / "project")
    yield copy
    shutil.rmtree(copy.root)


@pytest.mark.slow
def test_shares_fill_the_store_and_dvc_publishes_what_one_process_would(
    project: Project, unfilled: Project, server: StageServer, tmp_path: Path
) -> None:
    planned, n = _jobs(project), len(EVALS) * N_SAES
    assert f"\n0 cached, {n} to compute\n" in run_command(server, project, "plan").out
    # In any order, each in a process of its own.
    for share in ("3/3", "1/3", "2/3"):
        jobs = share_of(planned, *read_shard(share))
        cells = sum(len(job.saes) for job in jobs)
        done = run_command(server, project, "fill", "--shard", share)
        assert done.code == 0, done.out
        assert (
            f"fill {share}: {len(EVALS)} evals, {len(jobs)} jobs, {cells} cells: {cells} to compute, 0 reused"
            in done.out
        )
        assert f"fill: {cells} cells computed, 0 reused, 0 failed" in done.out
    assert _jobs(project) == planned, "shares must not move while others finish"
    plan = f"{n} cached, 0 to compute\n"
    assert run_command(server, project, "plan").out.endswith(plan)
    assert project.repro(*EVAL_STAGES).counts == dict.fromkeys(EVALS, (0, N_SAES, 0))
    assert run_command(server, project, "plan").out.endswith(plan)

    alone = unfilled.copy_to(tmp_path / "alone")
    alone.edit({"execution": {"group_gigabytes": 4}})
    assert run_stages(alone) == dict.fromkeys(EVALS, (N_SAES, 0))
    published, expected = results_of(project), results_of(alone)
    assert {name: published[name] for name in expected} == expected
    shutil.rmtree(alone.root)


def _jobs(project: Project) -> list[Job]:
    paths = find_paths(project.root)
    jobs = plan_run(load_params(paths.params), paths, EVALS).jobs
    assert len(jobs) == 2 * len(EVALS)
    return jobs


def fill(project: Project, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    """`python -m sae_research fill <arguments>` in the project, in this process."""
    monkeypatch.chdir(project.root)
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    command.run(parser.parse_args(arguments))


def test_an_sae_that_fails_is_named_and_the_others_are_stored_where_SAE_STORE_says(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    store.mkdir()
    monkeypatch.setenv("SAE_STORE", str(store))
    weights = project.root / "downloaded_saes" / "topk_k8" / "sae_weights.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-8])
    failed = r"fill: 1 cell\(s\) failed; the others are stored and will not be computed again:\n  core of topk_k8: "
    with pytest.raises(UserError, match=failed):
        fill(project, monkeypatch, "--evals", "core")
    assert len(list((store / "cells").glob("*/*.json"))) == 2
    assert not (project.root / ".sae_cache" / "cells").exists()
    [log] = (store / "logs").glob("fill-*/run.log")
    assert "fill: 2 cells computed, 0 reused, 1 failed" in log.read_text()

    weights.write_bytes(whole)
    fill(project, monkeypatch, "--evals", "core", "--dry-run")
    dry = capsys.readouterr().out
    assert "2 jobs, 3 cells; 1 jobs with 1 cells are missing" in dry
    assert "hours of one worker like those of 2 earlier passes" in dry
    fill(project, monkeypatch, "--evals", "core")
    paths = find_paths()
    summary = run_eval_stage("core", load_params(paths.params), paths)
    assert (summary.computed, summary.reused) == (0, N_SAES)


@pytest.mark.slow
def test_two_runs_and_a_dvc_repro_at_once_on_a_slow_disk(finished_project: Project, tmp_path: Path) -> None:
    project = drill_project(finished_project, tmp_path / "project", flush_seconds=0.1)
    n = len(project.status("core"))
    with (
        running(project, "first", "fill", env=environment()) as first,
        running(project, "second", "fill", env=environment()) as second,
        running(project, "repro", "dvc", "repro", DRILL_STAGE, env=environment()) as repro,
    ):
        for run in (first, second, repro):
            code, out = run.end()
            assert code == 0, out
            assert re.search(r"cells computed, \d+ reused, 0 failed", out)
    assert len(project.status("drill")) == stored(project) == n
    assert_whole(project.root / ".sae_cache")
    assert list((project.root / ".sae_cache").rglob(".tmp-*")) == []


def test_all_shares_together_keep_to_a_judges_budget(
    finished_project: Project, server: StageServer, tmp_path: Path
) -> None:
    project = drill_project(finished_project, tmp_path / "project", judge="openai:judge")
    n, most = len(project.status("core")), 7
    with running_chat_server(lambda _asked: said("a word")) as chat:
        project.edit({"judging": {"base_url": chat.url, "max_requests": most}})
        for share in ("2/2", "1/2"):
            done = run_command(server, project, "fill", "--shard", share, **PLUGINS)
            assert done.code == 1
            assert f"are spent (a part of the run's {most}: several processes share it)" in done.out
        assert len(chat.requests) == most == stored(project)
        # One process has all of it.
        whole = run_command(server, project, "fill", **PLUGINS)
        assert f"fill: {most} cells computed, {most} reused, {n - 2 * most} failed" in whole.out
        assert "judging.max_requests = 7 are spent\n" in whole.out
    assert len(chat.requests) == 2 * most


def test_a_group_that_is_too_large_is_halved_and_one_sae_that_is_fails(project: Project, server: StageServer) -> None:
    evals = {**dict.fromkeys(eval_names(), False), "drill": True}
    project.edit({"eval_types": evals, "drill": {"most": 2, "needs": "topk_k8"}, "execution": {"group_gigabytes": 1.0}})
    failed = run_command(server, project, "fill", **PLUGINS)
    assert failed.code == 1
    assert f"drill: out of memory with {N_SAES} SAEs at once" in failed.out
    assert f"fill: {N_SAES - 1} cells computed, 0 reused, 1 failed" in failed.out
    assert "  drill of topk_k8: out of memory, with no other SAE beside it; lower model.llm_batch_size" in failed.out
    assert "Traceback" not in failed.out


def test_a_worker_takes_part_only_with_the_drivers_code_and_plan(unfilled: Project) -> None:
    paths = find_paths(unfilled.root)
    order = order_for(plan_run(load_params(paths.params), paths, EVALS), paths.store, uses_gpu=False)
    assert digest_of_plan(planned_here(order)) == order.plan
    for wrong, why in (
        (replace(order, code="other"), "other code, or other versions of Python, torch"),
        (replace(order, plan="other"), "plans other cells"),
        (replace(order, root=str(paths.store)), "must lie on a file system that all share"),
    ):
        with pytest.raises(UserError, match=why):
            planned_here(wrong)


def test_what_cannot_be_done_is_said_in_one_line(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(message: str, *arguments: str) -> None:
        with pytest.raises(UserError, match=message):
            fill(project, monkeypatch, *arguments)
        assert not (project.root / ".sae_cache" / "cells").exists()

    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    refused("--shard 0/3: expected i/n with i from 1 to n", "--shard", "0/3")
    refused("--shard is one share of the work", "--shard", "1/3", "--executor", "ray")
    refused("--evals scr_: not enabled in params.yaml; enabled: core, ", "--evals", "scr_")
    refused("got no address, expected host:port", "--executor", "ray")
    refused("got address 'ray://a:1', expected host:port", "--executor", "ray", "--address", "ray://a:1")
    somewhere = ("--executor", "ray", "--address", "127.0.0.1:1")
    refused("no Ray token: set RAY_AUTH_TOKEN, or write it to", *somewhere)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    refused("a cluster without tokens runs what anybody sends it", *somewhere)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "a" * 32)
    monkeypatch.setitem(sys.modules, "ray", None)
    refused(r"--executor ray needs Ray \(ray is missing\): pip install 'sae-research\[ray\]'", *somewhere)
    for stated, why in (("a/b", "expected an absolute path"), (f"{tmp_path}/no", "no folder that can be written to")):
        monkeypatch.setenv("SAE_STORE", stated)
        refused(why)
