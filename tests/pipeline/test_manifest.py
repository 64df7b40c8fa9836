"""`downloaded_saes/manifest.json` and the store with hostile or damaged content: one line, nothing else written."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.project import ROOT

from sae_research.errors import UserError
from sae_research.measurements import EvalOutput, Measurement, Result
from sae_research.pipeline.manifest import SCHEMA, manifest_text
from sae_research.pipeline.params import load_params
from sae_research.pipeline.paths import Paths, find_paths
from sae_research.pipeline.plan import explain_plan
from sae_research.pipeline.stages.evals import run_eval_stage
from sae_research.pipeline.store import ResultStore

MODEL = {"name": "embedded/lm", "revision": "sha256:12"}
ENTRY = {
    "name": "topk_k8", "architecture": "topk", "label": "topk", "control": False, "atoms": None,
    "control_for": None, "scope": "token", "layer": 0,
    "hook_name": "blocks.0.hook_resid_post", "d_in": 4, "d_sae": 8, "hyperparameters": {"k": 8},
    "source": {"repo_id": "embedded/sae-topk"}, "digest": "ab" * 32, "training_tokens": None, "model_name": "lm",
}  # fmt: skip


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    root = tmp_path / "project"
    root.mkdir()
    shutil.copy(ROOT / "params.yaml", root)
    (root / "downloaded_saes").mkdir()
    text = tmp_path / "project/world/datasets/text/data/test-00000-of-00001.parquet"
    text.parent.mkdir(parents=True)
    text.touch()
    return find_paths(root)


def refused(paths: Paths, text: str, message: str) -> None:
    """Every command that reads the manifest ends with one short line like `message`; nothing else appears."""
    (paths.saes / "manifest.json").write_text(text)
    before = sorted(paths.root.parent.rglob("*"))
    params = load_params(paths.params)
    for read in (lambda: explain_plan(params, paths), lambda: run_eval_stage("core", params, paths)):
        with pytest.raises(UserError, match=message) as caught:
            read()
        assert str(caught.value).isprintable()
        assert "manifest.json" in str(caught.value)
        assert "run the setup stage" in str(caught.value)
    assert sorted(paths.root.parent.rglob("*")) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "../../../x"}, r"saes\[0\]: name is '../../../x', expected letters"),
        ({"name": ".."}, r"saes\[0\]: name is '..', expected letters"),
        ({"name": "a/b"}, r"saes\[0\]: name is 'a/b', expected letters"),
        ({"name": "a\x1b[31m"}, r"saes\[0\]: name is 'a\\x1b\[31m', expected letters"),
        ({"name": "x" * 300}, r"saes\[0\]: name is 'xxx.*, expected"),
        ({"name": 5}, r"saes\[0\].name: got 5 \(int\), expected str"),
        ({"digest": None}, r"saes\[0\].digest: got None"),
        ({"digest": ...}, r"saes\[0\]: missing digest"),
        ({"architecture": "fista"}, r"saes\[0\]: architecture is 'fista', expected one of abstopk, batchtopk, "),
        ({"hook_name": "<script>"}, r"saes\[0\]: hook_name is '<script>', expected"),
        ({"label": "=cmd"}, r"saes\[0\]: label is '=cmd', expected"),
        ({"d_sae": "8"}, r"saes\[0\].d_sae: got '8' \(str\), expected int"),
        ({"source": []}, r"saes\[0\].source: got \[\] \(list\), expected a mapping"),
        ({"scope": "x"}, r"saes\[0\].scope: got 'x'"),
    ],
)
def test_a_hostile_entry_is_one_line(paths: Paths, changes: dict[str, Any], message: str) -> None:
    entry = {key: value for key, value in {**ENTRY, **changes}.items() if value is not ...}
    refused(paths, json.dumps({"schema": SCHEMA, "model": MODEL, "saes": [entry]}), message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"saes": None}, r"saes: got None"),
        ({"saes": "x"}, r"saes: got 'x'"),
        ({"saes": [5]}, r"saes\[0\]: got 5"),
        ({"saes": [ENTRY, {**ENTRY, "name": "TOPK_k8"}]}, "saes hold the name 'TOPK_k8' twice, letter case aside"),
        ({"model": None}, "model: got None"),
        ({"model": {"name": "embedded/lm"}}, "model: missing revision"),
        ({"model": {"name": "x", "revision": 5}}, "model.revision: got 5"),
        ({"schema": 99}, "not in the form that this version writes"),
    ],
)
def test_a_manifest_of_wrong_types_is_one_line(paths: Paths, content: dict[str, Any], message: str) -> None:
    refused(paths, json.dumps({"schema": SCHEMA, "model": MODEL, "saes": [ENTRY], **content}), message)


def test_a_manifest_of_brackets_is_one_line(paths: Paths) -> None:
    refused(paths, "[" * 10**5, "nested too deeply")


@pytest.mark.parametrize("in_its_place", ["folder", "brackets", "list", "latin-1"])
def test_what_is_no_cell_in_a_cells_place_is_damaged_and_replaced(
    paths: Paths, in_its_place: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = ResultStore(paths.store / "cells")
    result = Result("ab12", "core", ENTRY, {}, {"sae": "1"}, EvalOutput((Measurement("l0", 2.5),)))
    store.put(result)
    for ending in (".json", ".parts"):
        path = paths.store / f"cells/ab/ab12{ending}"
        path.unlink()
        if in_its_place == "folder":
            (path / "inner").mkdir(parents=True)
        else:
            path.write_bytes({"brackets": b"[" * 10**5, "list": b"[1]", "latin-1": b"\xfc"}[in_its_place])
    assert store.get("ab12") is None
    assert list(store.past_cells()) == []
    assert caplog.text.count("damaged or of another version") == 2
    store.put(result)
    assert store.get("ab12") is not None
    assert len(list(store.past_cells())) == 1


@pytest.mark.parametrize(
    "past", [{"eval_name": "core", "sae_name": "x", "parts": {}}, {"eval_name": "core", "sae_name": "x", "parts": 5}]
)
def test_a_past_cell_without_its_sae_is_passed_over_by_the_plan(paths: Paths, past: dict[str, Any]) -> None:
    (paths.saes / "manifest.json").write_text(manifest_text(MODEL, [ENTRY]))
    cells = paths.store / "cells" / "ab"
    cells.mkdir(parents=True)
    (cells / "ab12.parts").write_text(json.dumps(past))
    params = load_params(paths.params)
    only_core = {name: name == "core" for name in params.eval_types}
    plan = explain_plan(dataclasses.replace(params, eval_types=only_core), paths)
    assert "missing: never computed" in plan
