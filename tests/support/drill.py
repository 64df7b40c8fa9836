"""The tiny project under an eval that measures nothing, for drills: jobs are short, and misfortunes are ordered."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.project import Project

from sae_research.evals.registry import eval_names
from sae_research.pipeline.store import read_intact

PLUGINS = {"SAE_PLUGINS": str(Path(__file__).parent / "drill_plugins")}
DRILL_STAGE = "optional_evals@drill"
_SECONDS = 240.0
"""Enough for a machine that stands still for a while."""


def drill_project(finished_project: Project, folder: Path, **drill: Any) -> Project:
    """The tiny project with its 18 SAEs under the drill alone, three in a job; a stage of DVC publishes it."""
    project = finished_project.copy_to(folder)
    shutil.rmtree(project.root / ".sae_cache" / "cells")
    project.edit(
        {
            "eval_types": {**dict.fromkeys(eval_names(), False), "drill": True},
            "drill": drill,
            "execution": {"group_gigabytes": 1.2e-4},
        }
    )
    stages = project.root / "dvc.yaml"
    last = "      autointerp: {data: autointerp}\n"
    assert last in stages.read_text()
    stages.write_text(stages.read_text().replace(last, f"{last}      drill: {{data: drill}}\n"))
    return project


def stored(project: Project) -> int:
    """The cells that the store holds."""
    return len(list((project.root / ".sae_cache" / "cells").glob("*/*.json")))


def assert_whole(store: Path) -> None:
    """No cell is half-written, whenever whoever wrote it was killed; temporary files may be left."""
    assert all(read_intact(path) is not None for path in (store / "cells").glob("*/*.json"))


class Run:
    """A command under way in the project, in a process of its own."""

    def __init__(self, project: Project, name: str, command: list[str], env: Mapping[str, str]) -> None:
        self._log = project.root.with_name(f"{project.root.name}-{name}.log")
        with self._log.open("w") as file:
            self.process = subprocess.Popen(
                command, cwd=project.root, env={**env, **PLUGINS}, stdout=file, stderr=file
            )  # fmt: skip

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
        """Its exit code and what it said."""
        return self.process.wait(timeout=_SECONDS), self.out


@contextmanager
def running(project: Project, name: str, *command: str, env: Mapping[str, str]) -> Iterator[Run]:
    """`command`, until the block ends; `fill ...` is that command of the package."""
    whole = [sys.executable, "-m", "sae_research", *command] if command[0] == "fill" else list(command)
    run = Run(project, name, whole, env)
    try:
        yield run
    finally:
        run.process.kill()
        run.process.wait()
