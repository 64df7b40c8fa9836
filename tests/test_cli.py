"""`python -m sae_research`: what it prints, how it exits, and how a stage's process behaves."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.project import ROOT, environment

from sae_research.cli import main
from sae_research.pipeline.runtime import warn_of_untracked_code


def run(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sae_research", *arguments]
    return subprocess.run(
        command, cwd=cwd, env=environment() | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120
    )


def test_help_names_every_command_and_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    shown = capsys.readouterr().out
    assert end.value.code == 0
    for words in (
        "plan",
        "profile",
        "report",
        "audit",
        "unlock",
        "world",
        "dvc repro",
        "dvc exp run -S",
        "params.yaml",
        "METRICS.md",
    ):
        assert words in shown
    assert max(map(len, shown.splitlines())) <= 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["plans"], "invalid choice: 'plans'"),
        (["profile"], "the following arguments are required: name"),
        (["world"], "the following arguments are required: ACTION"),
        (["world", "check", "--seeds", "x"], "invalid int value: 'x'"),
    ],
)
def test_a_wrong_command_shows_the_usage(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    shown = capsys.readouterr().err
    assert end.value.code == 2
    assert shown.startswith("usage: python -m sae_research")
    assert message in shown


def _workspace(folder: Path) -> Path:
    shutil.copy(ROOT / "params.yaml", folder)
    shutil.copytree(ROOT / "profiles", folder / "profiles")
    return folder


def test_a_profile_is_written_and_embedded_goes_back(tmp_path: Path) -> None:
    before = (_workspace(tmp_path) / "params.yaml").read_bytes()
    done = run("profile", "pythia-70m", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "params.yaml now holds profile 'pythia-70m'; next: dvc repro\n")
    assert "pythia-70m-deduped" in (tmp_path / "params.yaml").read_text()
    assert run("profile", "embedded", cwd=tmp_path).returncode == 0
    assert (tmp_path / "params.yaml").read_bytes() == before


def test_a_profile_asks_before_it_overwrites(tmp_path: Path) -> None:
    params = _workspace(tmp_path) / "params.yaml"
    own = params.read_text().replace("llm_batch_size: 32", "llm_batch_size: 7")
    params.write_text(own)
    done = run("profile", "pythia-70m", cwd=tmp_path)
    assert (done.returncode, done.stdout, params.read_text()) == (1, "", own)
    assert "values of your own in model.llm_batch_size" in done.stderr
    done = run("profile", "pythia-70m", "--force", cwd=tmp_path)
    assert (done.returncode, (tmp_path / "params.yaml.bak").read_text()) == (0, own)


def test_an_unknown_profile_lists_those_there_are(tmp_path: Path) -> None:
    done = run("profile", "gpt5", cwd=_workspace(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert "profile 'gpt5' does not exist; valid: embedded, " in done.stderr
    assert "Traceback" not in done.stderr


def test_outside_the_project_the_folder_is_asked_for(tmp_path: Path) -> None:
    for command in (["plan"], ["profile", "embedded"]):
        done = run(*command, cwd=tmp_path)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert "params.yaml does not exist; run this in the project's folder" in done.stderr


def test_before_setup_a_plan_asks_for_it(tmp_path: Path) -> None:
    done = run("plan", cwd=_workspace(tmp_path))
    assert done.returncode == 1
    assert "run the setup stage first (`dvc repro setup`)" in done.stderr


def test_a_reader_that_leaves_early_gets_no_traceback(tmp_path: Path) -> None:
    run = "run_as_stage(lambda: print('x' * 10**6))"
    code = f"import sys; from sae_research.pipeline.runtime import run_as_stage; sys.exit({run})"
    done = subprocess.run(
        f'"{sys.executable}" -c "{code}" | head -c 1', shell=True, cwd=ROOT, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("x", "")


# The process of a stage

_LATE = """
import os, sys, time
from sae_research.pipeline.runtime import run_as_stage
def work():
    time.sleep(1)
    open(sys.argv[1], "w").close()
open(sys.argv[1] + ".started", "w").close()
sys.exit(run_as_stage(work))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's signal at a parent's death is Linux's")
@pytest.mark.parametrize(("stage", "survives"), [("core_eval", False), ("", True)])
def test_a_stage_ends_with_dvc_but_outlives_a_shell(stage: str, survives: bool, tmp_path: Path) -> None:
    done = tmp_path / "done"
    shell = f'"{sys.executable}" -c "$CODE" "{done}" & while [ ! -e "{done}.started" ]; do sleep 0.05; done'
    subprocess.run(
        ["sh", "-c", shell], cwd=ROOT, env=environment() | {"DVC_STAGE": stage, "CODE": _LATE}, check=True,
        start_new_session=True, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + (30 if survives else 4)
    while not done.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert done.exists() is survives


_BUSY = """
import sys, threading
from sae_research.pipeline.runtime import run_as_stage
from sae_research.workers import side_by_side
import torch
def work():
    working = threading.Event()
    def compute(_):
        working.set()
        threading.Event().wait()
    threading.Thread(target=lambda: working.wait() and print("working", flush=True)).start()
    side_by_side(compute, range(2), torch.device("cpu"))
sys.exit(run_as_stage(work))
"""

_UNENDING = """
import sys, threading
from sae_research.pipeline.runtime import run_as_stage
def work():
    try:
        print("working", flush=True)
        threading.Event().wait()
    finally:
        threading.Event().wait()
sys.exit(run_as_stage(work))
"""


_UNNOTICED = """
import signal, sys, threading, time
from sae_research.pipeline.runtime import run_as_stage
def work():
    def send():
        time.sleep(0.3)
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
    threading.Thread(target=send).start()
    threading.Event().wait()
sys.exit(run_as_stage(work))
"""


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_does_not_wait_for_threads_at_work(kind: signal.Signals) -> None:
    code, message = _interrupted(_BUSY, kind)
    assert (code, message) == (130, "interrupted; finished cells are kept, run again to go on\n")


def test_a_signal_that_breaks_no_wait_is_noticed() -> None:
    """One that another thread takes leaves the main thread waiting, as does one that comes just before the wait."""
    done = subprocess.run([sys.executable, "-c", _UNNOTICED], cwd=ROOT, env=environment(), capture_output=True,
                          text=True, timeout=60)  # fmt: skip
    assert (done.returncode, done.stderr) == (130, "interrupted; finished cells are kept, run again to go on\n")


def test_an_interrupted_process_ends_even_where_its_clean_up_does_not() -> None:
    code, _message = _interrupted(_UNENDING, signal.SIGTERM)
    assert code == -signal.SIGALRM


def _interrupted(program: str, kind: signal.Signals) -> tuple[int, str]:
    """Exit code and stderr of a program that is sent `kind` once it is at work."""
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, env=environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            assert process.stdout and process.stdout.readline() == "working\n"
            process.send_signal(kind)
            return process.wait(timeout=60), process.communicate()[1]
        finally:
            process.kill()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "sae_research").mkdir()
    (tmp_path / "sae_research" / "known.py").touch()
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run(["git", "add", "-A"], cwd=tmp_path, check=True)
    return tmp_path


def test_modules_that_git_does_not_know_are_named(repository: Path, caplog: pytest.LogCaptureFixture) -> None:
    warn_of_untracked_code(repository)
    (repository / "notes.py").touch()
    warn_of_untracked_code(repository)
    assert caplog.messages == []
    (repository / "sae_research" / "new.py").touch()
    warn_of_untracked_code(repository)
    [message] = caplog.messages
    assert "sae_research/new.py" in message
    assert "`git add`" in message
    assert "known.py" not in message


def test_without_git_there_is_no_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    (tmp_path / "sae_research").mkdir()
    (tmp_path / "sae_research" / "new.py").touch()
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", os.fspath(tmp_path.parent))
    warn_of_untracked_code(tmp_path)
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    warn_of_untracked_code(tmp_path)
    assert caplog.messages == []
