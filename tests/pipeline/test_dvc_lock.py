"""The lock record that a killed DVC leaves broken."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import zc.lockfile

from sae_research.cli import main

BROKEN = ["", '{"write": {"/a": ', "\x00\x00"]


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That of a project that real DVC has just set up."""
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"]):
        subprocess.run(command, cwd=tmp_path, check=True, env=os.environ | {"DVC_NO_ANALYTICS": "1"})
    (tmp_path / "params.yaml").write_text("{}")
    (tmp_path / "dvc.yaml").write_text("stages: {one: {cmd: echo 1 > out, outs: [out]}}")
    monkeypatch.chdir(tmp_path)
    return tmp_path / ".dvc" / "tmp" / "rwlock"


def _dvc(folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"DVC_NO_ANALYTICS": "1"}
    return subprocess.run(["dvc", "repro"], cwd=folder, capture_output=True, text=True, env=environment)


def test_a_broken_record_is_removed_and_dvc_works_again(record: Path, tmp_path: Path) -> None:
    for content in BROKEN:
        record.write_text(content)
        assert "JSON structure is corrupted" in _dvc(tmp_path).stderr
        assert main(["unlock"]) == 0
        assert not record.exists()
    assert _dvc(tmp_path).returncode == 0


def test_a_record_that_is_whole_or_not_there_is_left_alone(record: Path) -> None:
    record.write_text("{}")
    assert main(["unlock"]) == 0
    assert record.read_text() == "{}"
    record.unlink()
    assert main(["unlock"]) == 0


def test_nothing_is_removed_while_a_dvc_writes_it(record: Path, caplog: pytest.LogCaptureFixture) -> None:
    record.write_text(BROKEN[0])
    held = zc.lockfile.LockFile(str(record.with_name("rwlock.lock")))
    assert main(["unlock"]) == 1
    assert "is being written by a dvc that runs here" in caplog.messages[-1]
    assert record.exists()
    held.close()
