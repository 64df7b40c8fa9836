"""Killed in mid-stage: nothing outlives DVC, nothing half-written is believed, nothing finished is lost."""

from __future__ import annotations

import random
import shutil
import signal

import pytest
from support.kills import Victim, kill_repro, seconds_after
from support.project import Project

pytestmark = pytest.mark.slow

CHANGES = {"core_eval": {"n_sparsity_batches": 3}, "sparse_probing": {"k_values": [1, 2, 5]}}
"""What both eval stages and all after them run again for."""
_STAGE_ENDS = "SAEs, "
"""The last line of the setup stage; a fast machine may have come so far when the signal is sent."""


@pytest.fixture(scope="module")
def undisturbed(finished_project: Project, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The results after `CHANGES`."""
    copy = finished_project.copy_to(tmp_path_factory.mktemp("undisturbed") / "project")
    copy.edit(CHANGES)
    copy.repro()
    outputs = copy.outputs()
    shutil.rmtree(copy.root)
    return outputs


@pytest.mark.parametrize(
    ("line", "victim", "kind", "within"),
    [
        ("setup: building the embedded world", "dvc", signal.SIGKILL, (0.0, 0.8)),
        ("Running stage 'core_eval'", "script", signal.SIGKILL, (0.0, 6.0)),
        ("Running stage 'sparse_probing_eval'", "both", signal.SIGINT, (0.0, 6.0)),
    ],
)
def test_after_a_kill_the_next_run_ends_as_an_undisturbed_one(
    project: Project,
    undisturbed: dict[str, bytes],
    line: str,
    victim: Victim,
    kind: signal.Signals,
    within: tuple[float, float],
) -> None:
    project.edit(CHANGES)
    if line.startswith("setup"):
        for name in ("world", ".sae_cache/worlds"):
            shutil.rmtree(project.root / name)
    moment = random.Random(f"{line} {victim}").uniform(*within)
    kill = kill_repro(project, victim, kind, seconds_after(line, moment))
    assert kill.was_running
    assert not kill.outlived, f"the stage outlived DVC: {kill}"
    if victim == "dvc" and _STAGE_ENDS not in kill.output_before:
        assert _STAGE_ENDS not in kill.output, f"the stage went on without DVC: {kill.output}"
    project.repro()
    assert project.outputs() == undisturbed
