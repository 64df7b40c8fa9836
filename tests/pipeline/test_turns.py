"""Processes of one machine take turns, also where one of them is killed in its turn."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from sae_research.pipeline.pools import local
from sae_research.pipeline.turns import in_turn

ROOT = Path(__file__).parents[2]
WAITING = """
import pathlib, sys
from sae_research.pipeline.turns import in_turn
print("waits", flush=True)
with in_turn("test"):
    pathlib.Path(sys.argv[1]).touch()
    print("begins", flush=True)
    input()
"""


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other processes of this machine have turns of their own."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)


@contextmanager
def _another(has_begun: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", WAITING, str(has_begun)], cwd=ROOT, text=True, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout and process.stdout.readline() == "waits\n"
        yield process
        process.kill()


def test_one_waits_for_the_other_and_goes_on_after_its_death(tmp_path: Path) -> None:
    with _another(tmp_path / "first") as first:
        assert first.stdout and first.stdout.readline() == "begins\n"
        with _another(tmp_path / "second") as second:
            time.sleep(0.5)
            assert not (tmp_path / "second").exists()
            first.send_signal(signal.SIGKILL)
            assert second.stdout and second.stdout.readline() == "begins\n"


def test_workers_of_a_gpu_load_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[str] = []

    @contextmanager
    def noted(what: str) -> Iterator[None]:
        with in_turn(what):
            turns.append("begins")
            yield
            turns.append("ends")

    run: Any = type("Run", (), {"params": type("P", (), {"model": type("M", (), {"device": "auto"})}), "workplace": 0})
    run.workplace = staticmethod(lambda: turns.append("loads"))
    monkeypatch.setattr(local, "in_turn", noted)
    monkeypatch.setattr("sae_research.pipeline.execute.Worker", lambda place: place)
    for device, expected in (("cuda", ["begins", "loads", "ends"]), ("cpu", ["loads"])):
        turns.clear()
        monkeypatch.setattr("sae_research.lm.load.find_device", lambda _, device=device: torch.device(device))
        local.make_worker(run)
        assert turns == expected
