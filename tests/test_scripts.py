"""The scripts by hand: arguments, interruptions, closed streams, what the disk does; each ends with one message."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.project import ROOT, environment

SCRIPTS = sorted(path.stem for path in (ROOT / "scripts").glob("[!_]*.py"))


def _run(arguments: str, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """`python <arguments>` as a shell runs it, in a folder that is no project."""
    return subprocess.run(
        f'exec "{sys.executable}" {arguments}', shell=True, cwd=folder, capture_output=True, text=True, timeout=120,
        env=environment() | {"PYTHONPATH": str(ROOT)} | env,
    )  # fmt: skip


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_tells_what_a_script_does_and_an_unknown_argument_is_refused(script: str, tmp_path: Path) -> None:
    for arguments, code in (("--help", 0), ("junk", 2), ("--force", 2)):
        done = _run(f"-m scripts.{script} {arguments}", tmp_path)
        assert done.returncode == code, done
        assert f"usage: python -m scripts.{script}" in done.stdout + done.stderr
        assert "params.yaml" not in done.stderr, "the stage ran"
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_interruption_while_a_script_imports_its_stage_ends_it_in_one_line(script: str, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", f"scripts.{script}"], cwd=tmp_path, text=True,
        env=environment() | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stderr
        # The first module of the stage's own; hundreds follow it.
        assert any("sae_research.evals" in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        shown = [line for line in process.stderr if not line.startswith("import time:")]
        assert process.wait(timeout=60) == 130
        assert shown == ["interrupted; finished cells are kept, run again to go on\n"]


def test_a_closed_stdout_does_not_stop_a_stage_and_is_told_by_a_command_that_prints(tmp_path: Path) -> None:
    stage = '-c "from sae_research.pipeline.runtime import run_as_stage; raise SystemExit(run_as_stage(int))" >&-'
    done = _run(stage, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    printing = '-c "from sae_research.stdout import show; from sae_research.pipeline.runtime import run_as_stage; '
    printing += "raise SystemExit(run_as_stage(lambda: show('x')))\" >&-"
    done = _run(printing, tmp_path)
    assert (done.returncode, done.stderr) == (1, "nothing can be printed: stdout is closed\n")


def test_sae_debug_shows_where_an_error_comes_from(tmp_path: Path) -> None:
    done = _run("-m scripts.run_core_eval", tmp_path)
    assert done.stderr.count("\n") == 1
    (tmp_path / "params.yaml").write_text("a: [")
    traced = _run("-m scripts.run_core_eval", tmp_path, SAE_DEBUG="1")
    assert "it was raised here" in traced.stderr
    assert "read_yaml" in traced.stderr
