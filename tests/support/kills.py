"""Kills `dvc repro` or the script that it runs, at a chosen moment."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from support.project import Project, environment

Victim = Literal["dvc", "script", "both"]

_GONE_WITHIN = 5.0


@dataclass(frozen=True)
class Kill:
    """What was running when the signal came, and what became of it."""

    stage: str
    was_running: bool
    """Whether there was a `dvc repro` to kill."""
    orphan: bool
    """Whether a script still ran seconds after DVC had ended."""
    output: str


def kill_repro(
    project: Project, victim: Victim, kind: signal.Signals, when: Callable[[str], bool], env: Mapping[str, str] = {}
) -> Kill:
    """Starts `dvc repro` and sends `kind` as soon as `when(output so far)`; returns when all is over.

    `both` is what Ctrl-C on a terminal does: the signal goes to DVC and its script alike.
    """
    log = project.root.with_name(f"{project.root.name}.log")
    with log.open("w") as file:
        process = subprocess.Popen(
            ["dvc", "repro"], cwd=project.root, env=environment() | dict(env), stdout=file, stderr=file,
            start_new_session=True,
        )  # fmt: skip
    while process.poll() is None and not when(log.read_text()):
        time.sleep(0.02)
    running = process.poll() is None
    # Read before the signal: afterwards DVC may print more.
    stages = re.findall(r"^Running stage '([^']+)'", log.read_text(), re.MULTILINE)
    if running:
        _send(project, process.pid, victim, kind)
    process.wait(timeout=300)
    deadline = time.monotonic() + _GONE_WITHIN
    while stage_processes(project) and time.monotonic() < deadline:
        time.sleep(0.05)
    orphans = stage_processes(project)
    for orphan in orphans:
        os.kill(orphan, signal.SIGKILL)
    return Kill(stages[-1] if stages else "before the first", running, bool(orphans), log.read_text())


def after(seconds: float) -> Callable[[str], bool]:
    """True once that many seconds have passed."""
    end = time.monotonic() + seconds
    return lambda _output: time.monotonic() >= end


def in_stage(name: str, seconds: float) -> Callable[[str], bool]:
    """True that many seconds after DVC has announced the stage."""
    announced: list[float] = []

    def has_come(output: str) -> bool:
        if not announced and f"Running stage '{name}'" in output:
            announced.append(time.monotonic())
        return bool(announced) and time.monotonic() >= announced[0] + seconds

    return has_come


def _send(project: Project, dvc: int, victim: Victim, kind: signal.Signals) -> None:
    scripts = stage_processes(project)
    victims = {"dvc": [dvc], "script": scripts or [dvc], "both": [dvc, *scripts]}[victim]
    for process in victims:
        os.kill(process, kind)


def stage_processes(project: Project) -> list[int]:
    """The process ids of the stage scripts that run in this project."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
            is_stage = b"-m" in command and any(part.startswith(b"scripts.") for part in command)
            if is_stage and (entry / "cwd").resolve() == project.root.resolve():
                found.append(int(entry.name))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return found
