"""`activation_caching.save_activations` through the stage: no number depends on what lies in the cache."""

from __future__ import annotations

import shutil

import pytest
from support.project import Finished, Project
from support.stage_server import StageServer

pytestmark = pytest.mark.slow


def test_no_number_depends_on_kept_activations_damaged_or_not(project: Project, server: StageServer) -> None:
    results = project.root / "eval_results" / "core"
    without_cache = {path.name: path.read_bytes() for path in results.iterdir()}
    shutil.rmtree(project.root / ".sae_cache" / "model_results")
    project.edit({"activation_caching": {"save_activations": True}})

    def compute_again() -> Finished:
        shutil.rmtree(results)
        shutil.rmtree(project.root / ".sae_cache" / "cells")
        done = server.run(project.root, "scripts.run_core_eval")
        assert done.code == 0, done.out
        assert {path.name: path.read_bytes() for path in results.iterdir()} == without_cache
        return done

    compute_again()
    folders = [project.root / ".sae_cache" / name for name in ("activations", "model_results")]
    kept = [path for folder in folders for path in folder.rglob("*.safetensors")]
    assert len(kept) > 1
    assert "damaged" not in compute_again().out
    for path in kept:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 255
        path.write_bytes(data)
    assert compute_again().out.count("is damaged; what it held is computed again") == len(kept)
    assert "damaged" not in compute_again().out
