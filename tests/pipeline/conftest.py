from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.bench import Bench
from support.project import Project, make_project
from support.stage_server import StageServer, running_stage_server
from support.workspace import card as card
from support.workspace import core_result as core_result
from support.workspace import filled as filled
from support.workspace import workspace as workspace


@pytest.fixture(scope="session")
def finished_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The tiny pipeline, run once from nothing and committed; read it, or work on a copy (`project`)."""
    made = make_project(tmp_path_factory.mktemp("pipeline") / "project")
    made.repro()
    made.commit("results")
    return made


@pytest.fixture
def project(finished_project: Project, tmp_path: Path) -> Iterator[Project]:
    """A copy of the finished tiny project, free to be changed."""
    copy = finished_project.copy_to(tmp_path / "project")
    yield copy
    shutil.rmtree(copy.root, ignore_errors=True)


@pytest.fixture(scope="session")
def server() -> Iterator[StageServer]:
    """Runs scripts without importing the large libraries each time."""
    with running_stage_server() as running:
        yield running


@pytest.fixture(scope="session")
def bench(finished_project: Project, server: StageServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A copy of the finished project that every test leaves as it found it."""
    copy = finished_project.copy_to(tmp_path_factory.mktemp("errors") / "project")
    yield Bench(copy, server)
    shutil.rmtree(copy.root)
