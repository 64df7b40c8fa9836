from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from project import Project, make_project


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
