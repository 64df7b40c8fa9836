"""Kills `dvc repro` or the script that it runs, at a chosen moment."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from support.project import Project, environment

Victim = Literal["dvc", "script", "both"]

_GONE_WITHIN = 30.0
"""Seconds; enough for a machine that stands still for a while. A stage that goes on working shows in the output."""


@dataclass(frozen=True)
class Kill:
    """What was running when the signal came, and what became of it."""

    stage: str
    was_running: bool
    """Whether there was a `dvc repro` to kill."""
    outlived: str
    """What the kernel says of scripts that still ran when DVC had long ended: empty if there were none."""
    output_before: str
    """What was printed when the signal came."""
    output: str


def kill_repro(
    project: Project, victim: Victim, kind: signal.Signals, when: Callable[[str], bool], env: Mapping[str, str] = {}
) -> Kill:
    """Starts `dvc repro` and sends `kind` as soon as `when(output so far)`; returns when all is over.

    The scripts stand still while the signal is sent, so that `output_before` is all that they had done by then.
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
    scripts = stage_processes(project)
    _signal(scripts, signal.SIGSTOP)
    before = log.read_text()
    stages = re.findall(r"^Running stage '([^']+)'", before, re.MULTILINE)
    if running:
        _signal(
            {"dvc": [process.pid], "script": scripts or [process.pid], "both": [process.pid, *scripts]}[victim], kind
        )
        if victim == "dvc" and kind == signal.SIGKILL:
            process.wait(timeout=300)
    _signal(scripts, signal.SIGCONT)
    process.wait(timeout=300)
    deadline = time.monotonic() + _GONE_WITHIN
    while stage_processes(project) and time.monotonic() < deadline:
        time.sleep(0.05)
    outlived = "\n".join(_end(process) for process in stage_processes(project))
    return Kill(stages[-1] if stages else "before the first", running, outlived, before, log.read_text())


def after(seconds: float) -> Callable[[str], bool]:
    """True once that many seconds have passed."""
    end = time.monotonic() + seconds
    return lambda _output: time.monotonic() >= end


def seconds_after(line: str, seconds: float) -> Callable[[str], bool]:
    """True that many seconds after `line` has been printed."""
    seen: list[float] = []

    def has_come(output: str) -> bool:
        if not seen and line in output:
            seen.append(time.monotonic())
        return bool(seen) and time.monotonic() >= seen[0] + seconds

    return has_come


def _signal(processes: Iterable[int], kind: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, kind)


def _end(process: int) -> str:
    """Kills a process; returns what the kernel said of it, nothing if it was gone already."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        status = Path(f"/proc/{process}/status").read_text()
        os.kill(process, signal.SIGKILL)
        return status
    return ""


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
