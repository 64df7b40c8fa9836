"""`python -m sae_research sae-bench-files`: documents with a record per latent, from those with a table beside."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from support.workspace import Workspace, make_core, make_probing

from sae_research.cli import main
from sae_research.measurements import Table


def test_records_of_latents_stand_in_the_documents(
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    core = make_core()
    table = Table({"feature_density": np.array([0.25, 0.0]), "encoder_norm": np.array([1, np.nan], dtype=np.float32)})
    workspace.add(dataclasses.replace(core, output=dataclasses.replace(core.output, tables={"latents": table})))
    workspace.add(make_probing())
    monkeypatch.chdir(workspace.paths.root)
    assert main(["sae-bench-files", "out", "--results", str(workspace.paths.results)]) == 0
    name = f"{core.sae['name']}_eval_results.json"
    assert capsys.readouterr().out.split() == [f"out/core/{name}", f"out/sparse_probing/{name}"]
    document = json.loads(Path("out/core", name).read_text())
    ours = json.loads((workspace.paths.results / "core" / name).read_text())
    assert ours["eval_result_details"] == []
    assert document["eval_result_details"] == [
        {"index": 0, "feature_density": 0.25, "encoder_norm": 1.0},
        {"index": 1, "feature_density": 0.0, "encoder_norm": -1.0},
    ]
    assert document["eval_result_metrics"] == ours["eval_result_metrics"]
    assert main(["sae-bench-files", "eval_results/x", "--results", str(workspace.paths.results)]) == 1
    assert "name a folder elsewhere" in caplog.text
    assert main(["sae-bench-files", "out", "--results", "out"]) == 1
    assert "no finished eval of SAEBench's" in caplog.text
