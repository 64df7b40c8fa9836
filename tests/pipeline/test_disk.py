"""A disk that is full: one message, nothing lost, nothing half-written left."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.bench import Bench
from support.drill import PLUGINS, assert_whole, drill_project
from support.every_eval import run_command
from support.project import Project
from support.stage_server import StageServer

pytestmark = pytest.mark.slow


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"a small file system takes root: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def _fill(disk: Path, *, leaving: int) -> Path:
    """A file that leaves so many bytes free."""
    stat = os.statvfs(disk)
    filler = disk / "filler"
    filler.write_bytes(bytes(max(stat.f_bavail * stat.f_frsize - leaving, 0)))
    return filler


FULL = (
    r"disk full while writing /\S+: free some space on that file system and run again; what was finished before is kept"
)


def test_a_full_disk_loses_nothing_and_leaves_nothing(
    finished_project: Project, server: StageServer, small_disk: Path
) -> None:
    bench = Bench(finished_project.copy_to(small_disk / "project"), server)
    more = {"sae_variants": {"ihtp": {"k_values": [1, 2]}}}
    for stage, changes, env, leaving in [
        ("setup_saes", more, {}, 100_000),
        ("run_core_eval", {"core_eval": {"n_sparsity_batches": 3}}, {}, 800_000),
        ("run_sparse_probing", {"sparse_probing": {"k_values": [1]}}, {}, 100_000),
        ("process_results", {}, {}, 100_000),
        ("visualize_results", {}, {}, 100_000),
    ]:
        filler = _fill(small_disk, leaving=leaving)
        bench.refused(stage, changes, FULL, **env)
        filler.unlink()
    computed = bench.run("run_core_eval", {"core_eval": {"n_sparsity_batches": 3}})
    kept = computed.counts["core"][1]
    assert 0 < kept < len(bench.project.status("core")), "cells that were finished before the disk was full are reused"


def test_a_full_disk_under_a_shared_store(finished_project: Project, server: StageServer, small_disk: Path) -> None:
    project = drill_project(finished_project, small_disk.parent / "project")
    n, store = len(project.status("core")), small_disk / "store"
    store.mkdir()
    env = {**PLUGINS, "SAE_STORE": str(store)}
    filler = _fill(small_disk, leaving=100_000)
    refused = run_command(server, project, "fill", **env)
    assert refused.code == 1
    assert re.search(FULL, refused.out)
    assert "Traceback" not in refused.out
    kept = len(list((store / "cells").glob("*/*.json")))
    assert f"fill: {kept} cells computed, 0 reused, {n - kept} failed" in refused.out
    assert 0 < kept < n
    assert_whole(store)
    assert list(store.rglob(".tmp-*")) == []
    filler.unlink()
    done = run_command(server, project, "fill", **env)
    assert done.code == 0, done.out
    assert f"fill: {n - kept} cells computed, {kept} reused, 0 failed" in done.out


def test_a_full_disk_while_the_world_is_built(finished_project: Project, server: StageServer, small_disk: Path) -> None:
    bench = Bench(finished_project.copy_to(small_disk / "project"), server)
    for leaving in (20_000, 1_000_000, 3_000_000):
        shutil.rmtree(bench.root / "world", ignore_errors=True)
        shutil.rmtree(bench.root / ".sae_cache" / "worlds", ignore_errors=True)
        filler = _fill(small_disk, leaving=leaving)
        bench.refused("setup_saes", {}, FULL)
        assert not (bench.root / "world").exists()
        filler.unlink()
    assert bench.run("setup_saes", {}).code == 0
    assert bench.project.outputs() == finished_project.outputs()
