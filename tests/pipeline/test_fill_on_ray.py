"""Drills on two raylets at loopback addresses: workers, raylets and drivers are killed, and nothing finished is lost.

One cluster serves the drills of `make test`. The long ones, with the real evals and kills at random moments:
`python -m pytest -m nightly tests/pipeline/test_fill_on_ray.py`.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from support.every_eval import EVALS, results_of, run_stages, unfilled_copy
from support.project import Project
from support.ray_cluster import TOKEN, RayCluster, running_cluster

from sae_research.evals.registry import eval_names
from sae_research.pipeline.store import read_intact

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason="the extra 'ray' is not installed"),
    pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 and 127.0.0.3 are addresses on Linux alone"),
]

PLUGINS = {"SAE_PLUGINS": str(Path(__file__).parents[1] / "support" / "drill_plugins")}
_SECONDS = 240.0
"""Enough for a machine that stands still for a while."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    with running_cluster() as running:
        yield running


def drill_project(finished_project: Project, folder: Path, **drill: Any) -> Project:
    """The tiny project with its 18 SAEs under the drill alone, three in a job."""
    project = finished_project.copy_to(folder)
    shutil.rmtree(project.root / ".sae_cache" / "cells")
    project.edit(
        {
            "eval_types": {**dict.fromkeys(eval_names(), False), "drill": True},
            "drill": drill,
            "execution": {"group_gigabytes": 1.2e-4},
        }
    )
    return project


class Run:
    """A `fill` under way in a process of its own."""

    def __init__(self, project: Project, cluster: RayCluster, name: str, **env: str) -> None:
        self._log = project.root.with_name(f"{project.root.name}-{name}.log")
        command = [sys.executable, "-m", "sae_research", "fill", "--executor", "ray", "--address", cluster.address]
        with self._log.open("w") as file:
            self.process = subprocess.Popen(
                command, cwd=project.root, env={**cluster.env, **PLUGINS, **env}, stdout=file, stderr=file
            )

    @property
    def out(self) -> str:
        return self._log.read_text()

    def wait_for(self, happened: Callable[[], object]) -> None:
        """Until then, or the end of the run, which is a failure."""
        deadline = time.monotonic() + _SECONDS
        while not happened():
            assert self.process.poll() is None and time.monotonic() < deadline, self.out
            time.sleep(0.02)

    def end(self) -> tuple[int, str]:
        return self.process.wait(timeout=_SECONDS), self.out


@contextmanager
def running(project: Project, cluster: RayCluster, name: str, **env: str) -> Iterator[Run]:
    run = Run(project, cluster, name, **env)
    try:
        yield run
    finally:
        run.process.kill()
        run.process.wait()


def stored(project: Project) -> int:
    return len(list((project.root / ".sae_cache" / "cells").glob("*/*.json")))


def kill(process: int) -> None:
    os.kill(process, signal.SIGKILL)


def test_a_killed_worker_and_a_poisoned_sae_cost_one_cell(
    finished_project: Project, cluster: RayCluster, tmp_path: Path
) -> None:
    project = drill_project(finished_project, tmp_path / "project", seconds=0.2, poison="topk_k8")
    n = len(project.status("core"))
    with running(project, cluster, "fill") as run:
        run.wait_for(lambda: stored(project) >= 2)
        kill(cluster.workers()[0])
        code, out = run.end()
    assert code == 1
    # A cell that the killed worker had stored, but not yet reported, counts as reused.
    assert " reused, 1 failed" in out
    assert "drill of topk_k8: its worker died 2 times while it measured this SAE alone: ActorDiedError" in out
    assert stored(project) == n - 1
    assert "Traceback" not in out
    [logs] = (project.root / ".sae_cache" / "logs").iterdir()
    assert len(list(logs.glob("worker-*.log"))) >= 4
    texts = [path.read_text() for path in logs.iterdir()]
    assert all("begins drill of" in text for text in texts if "model embedded/lm" in text)
    assert not any(TOKEN in text for text in [out, *texts])
    # A worker that is killed while it writes leaves a temporary file, never half a cell.
    cells = (project.root / ".sae_cache" / "cells").glob("*/*.json")
    assert all(read_intact(path) is not None for path in cells)


def test_two_runs_at_once_one_killed_and_a_node_lost(
    finished_project: Project, cluster: RayCluster, tmp_path: Path
) -> None:
    project = drill_project(finished_project, tmp_path / "project", seconds=0.2)
    n = len(project.status("core"))
    with running(project, cluster, "first") as first:
        first.wait_for(cluster.workers)
        with running(project, cluster, "second") as second:
            first.wait_for(lambda: stored(project) >= 2)
            of_first = set(cluster.workers())
            first.process.kill()
            second.wait_for(lambda: not of_first & set(cluster.processes("ray::")))
            kept = stored(project)
            second.wait_for(lambda: "is ready" in second.out)
            kill(cluster.raylet(3))
            code, out = second.end()
    cluster.add_node(3)
    assert code == 0, out
    assert stored(project) == n
    assert 2 <= kept < n
    assert f"fill: {n - kept} cells computed" in out or " reused, 0 failed" in out


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
    command = [sys.executable, "-m", "other_code", "fill", "--executor", "ray", "--address", cluster.address]
    done = subprocess.run(
        command, cwd=project.root, env={**cluster.env, **PLUGINS}, capture_output=True, text=True, timeout=_SECONDS
    )
    assert done.returncode == 1
    assert "takes no part: worker on" in done.stderr
    assert "other code, or other versions of Python, torch" in done.stderr
    assert stored(project) == 0


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
@pytest.mark.parametrize("victim", ["worker", "raylet", "driver"])
@pytest.mark.parametrize("seed", range(4))
def test_kills_at_random_moments_change_no_byte(undisturbed: Project, tmp_path: Path, victim: str, seed: int) -> None:
    expected = results_of(undisturbed)
    project = undisturbed.copy_to(tmp_path / "project")
    shutil.rmtree(project.root / "eval_results")
    moment = random.Random(f"{victim} {seed}").uniform(0.0, 15.0)
    with running_cluster() as cluster:
        with running(project, cluster, "first") as run:
            run.wait_for(lambda: "is ready" in run.out)
            time.sleep(moment)
            match victim:
                case "worker":
                    kill(random.Random(seed).choice(cluster.workers() or [run.process.pid]))
                case "raylet":
                    kill(cluster.raylet(3))
                case _:
                    run.process.kill()
            run.end()
        with running(project, cluster, "second") as again:
            code, out = again.end()
    assert code == 0, out
    assert run_stages(project) == dict.fromkeys(EVALS, (0, len(project.status("core"))))
    assert results_of(project) == expected
