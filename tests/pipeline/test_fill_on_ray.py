"""Drills on two raylets at loopback addresses: workers, raylets, drivers and the head are killed, nothing finished is
lost, and no process is left.

One cluster serves the drills of `make test`. The long ones, with the real evals and kills at random moments:
`python -m pytest -m nightly tests/pipeline/test_fill_on_ray.py`.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path

import pytest
from support.chat_server import running_chat_server, said
from support.drill import PLUGINS, Run, assert_whole, drill_project, running, stored
from support.every_eval import EVALS, results_of, run_command, run_stages, unfilled_copy
from support.project import Project, environment
from support.ray_cluster import TOKEN, RayCluster, running_cluster
from support.stage_server import StageServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason="the extra 'ray' is not installed"),
    pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 and 127.0.0.3 are addresses on Linux alone"),
]


@pytest.fixture(scope="module")
def shared_cluster() -> Iterator[RayCluster]:
    with running_cluster() as running:
        yield running


@pytest.fixture
def cluster(shared_cluster: RayCluster) -> RayCluster:
    """Two nodes, whatever the drill before has killed."""
    shared_cluster.mend()
    return shared_cluster


def filling(project: Project, cluster: RayCluster, name: str = "fill") -> AbstractContextManager[Run]:
    """`fill` on the cluster."""
    return running(project, name, "fill", "--executor", "ray", "--address", cluster.address, env=cluster.env)


def kill(process: int) -> None:
    os.kill(process, signal.SIGKILL)


def test_a_killed_worker_and_a_poisoned_sae_cost_one_cell_on_a_slow_disk(
    finished_project: Project, cluster: RayCluster, tmp_path: Path
) -> None:
    project = drill_project(finished_project, tmp_path / "project", flush_seconds=0.1, poison="topk_k8")
    n = len(project.status("core"))
    with filling(project, cluster) as run:
        run.wait_for(lambda: stored(project) >= 2)
        kill(cluster.workers()[0])
        code, out = run.end()
    assert code == 1
    # What the killed workers had stored counts as well, though they could not report it.
    assert f"fill: {n - 1} cells computed, 0 reused, 1 failed" in out
    assert "drill of topk_k8: its worker died 2 times while it measured this SAE alone: ActorDiedError" in out
    assert stored(project) == n - 1
    assert "Traceback" not in out
    [logs] = (project.root / ".sae_cache" / "logs").iterdir()
    assert len(list(logs.glob("worker-*.log"))) >= 4
    texts = [path.read_text() for path in logs.iterdir()]
    assert all("begins drill of" in text for text in texts if "model embedded/lm" in text)
    assert not any(TOKEN in text for text in [out, *texts])
    assert_whole(project.root / ".sae_cache")


def test_two_runs_at_once_one_killed_and_a_node_lost(
    finished_project: Project, cluster: RayCluster, tmp_path: Path
) -> None:
    project = drill_project(finished_project, tmp_path / "project", seconds=0.2)
    n = len(project.status("core"))
    with filling(project, cluster, "first") as first:
        first.wait_for(cluster.workers)
        with filling(project, cluster, "second") as second:
            first.wait_for(lambda: stored(project) >= 2)
            of_first = set(cluster.workers())
            first.process.kill()
            second.wait_for(lambda: not of_first & set(cluster.processes("ray::")))
            kept = stored(project)
            second.wait_for(lambda: "is ready" in second.out)
            kill(cluster.raylet(3))
            code, out = second.end()
    assert code == 0, out
    assert stored(project) == n
    assert 2 <= kept < n
    # What the first run stored before the second looked it up is reused; each cell counts once.
    counts = re.findall(r"^fill: (\d+) cells computed, (\d+) reused, 0 failed", out, re.MULTILINE)
    assert [int(computed) + int(reused) for computed, reused in counts] == [n], out


@pytest.mark.nightly
def test_all_workers_together_keep_to_a_judges_budget(
    finished_project: Project, cluster: RayCluster, tmp_path: Path
) -> None:
    project = drill_project(finished_project, tmp_path / "project", judge="openai:judge")
    n, most = len(project.status("core")), 7
    with running_chat_server(lambda _asked: said("a word")) as chat:
        project.edit({"judging": {"base_url": chat.url, "max_requests": most}})
        with filling(project, cluster) as run:
            code, out = run.end()
    assert (code, len(chat.requests)) == (1, most), out
    assert f"fill: {most} cells computed, 0 reused, {n - most} failed" in out
    assert f"judges: {most} requests" in out
    assert f"are spent (a part of the run's {most}: several processes share it)" in out


@pytest.mark.nightly
def test_what_is_sent_to_workers_on_other_code_is_refused(
    finished_project: Project, cluster: RayCluster, tmp_path: Path
) -> None:
    project = drill_project(finished_project, tmp_path / "project")
    # The code of the workers is that of the driver's folder; only its own differs, by what it believes it has.
    (project.root / "other_code.py").write_text(
        "import sys\nfrom sae_research.pipeline.pools import orders\n"
        "orders.installed_code = lambda: 'other'\n"
        "from sae_research.cli import main\nsys.exit(main(sys.argv[1:]))\n"
    )
    command = (sys.executable, "-m", "other_code", "fill", "--executor", "ray", "--address", cluster.address)
    with running(project, "other", *command, env=cluster.env) as run:
        code, out = run.end()
    assert code == 1
    assert "takes no part: worker on" in out
    assert "other code, or other versions of Python, torch" in out
    assert stored(project) == 0


@pytest.mark.nightly
def test_after_the_death_of_the_head_everything_ends_and_the_next_run_goes_on(
    finished_project: Project, cluster: RayCluster, server: StageServer, tmp_path: Path
) -> None:
    project = drill_project(finished_project, tmp_path / "project", seconds=0.3)
    n = len(project.status("core"))
    with filling(project, cluster) as run:
        run.wait_for(lambda: stored(project) >= 2)
        cluster.kill_head()
        code, out = run.end()
    assert code == 1
    assert "the head of the Ray cluster, 127.0.0.2:" in out and "Traceback" not in out
    deadline = time.monotonic() + 60
    while (left := cluster.workers()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == []
    kept = stored(project)
    assert 2 <= kept < n
    assert_whole(project.root / ".sae_cache")
    again = run_command(server, project, "fill", **PLUGINS)
    assert again.code == 0, again.out
    assert f"fill: {n - kept} cells computed, {kept} reused, 0 failed" in again.out


@pytest.fixture(scope="module")
def undisturbed(finished_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """All evals, computed by one process; its store is then emptied."""
    folder = tmp_path_factory.mktemp("ray") / "project"
    project = unfilled_copy(finished_project, folder, group_gigabytes=7.5e-5)
    run_stages(project)
    shutil.rmtree(project.root / ".sae_cache" / "cells")
    shutil.rmtree(project.root / ".sae_cache" / "model_results")
    yield project
    shutil.rmtree(project.root)


@pytest.mark.nightly
@pytest.mark.parametrize("victim", ["worker", "raylet", "driver", "head"])
@pytest.mark.parametrize("seed", range(4))
def test_kills_at_random_moments_change_no_byte(undisturbed: Project, tmp_path: Path, victim: str, seed: int) -> None:
    expected = results_of(undisturbed)
    project = undisturbed.copy_to(tmp_path / "project")
    shutil.rmtree(project.root / "eval_results")
    moment = random.Random(f"{victim} {seed}").uniform(0.0, 15.0)
    with running_cluster() as cluster:
        with filling(project, cluster, "first") as run:
            run.wait_for(lambda: "is ready" in run.out)
            time.sleep(moment)
            match victim:
                case "worker":
                    kill(random.Random(seed).choice(cluster.workers() or [run.process.pid]))
                case "raylet":
                    kill(cluster.raylet(3))
                case "head":
                    cluster.kill_head()
                case _:
                    run.process.kill()
            run.end()
        cluster.mend()
        with filling(project, cluster, "second") as again:
            code, out = again.end()
    assert code == 0, out
    assert run_stages(project) == dict.fromkeys(EVALS, (0, len(project.status("core"))))
    assert results_of(project) == expected


@pytest.mark.nightly
def test_two_runs_and_a_dvc_repro_at_once_change_no_byte(undisturbed: Project, tmp_path: Path) -> None:
    expected = results_of(undisturbed)
    project = undisturbed.copy_to(tmp_path / "project")
    shutil.rmtree(project.root / "eval_results")
    project.repro("setup")
    with (
        running_cluster() as cluster,
        filling(project, cluster, "first") as first,
        filling(project, cluster, "second") as second,
        running(project, "repro", "dvc", "repro", env=environment()) as repro,
    ):
        for run in (first, second, repro):
            code, out = run.end()
            assert code == 0, out
    published = results_of(project)
    assert {name: published[name] for name in expected} == expected
