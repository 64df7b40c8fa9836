"""SAEs that `setup` trains: trained once, found again, their record beside them, refused before any work is lost."""

from __future__ import annotations

import json
import logging
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.project import Project

from sae_research.errors import UserError
from sae_research.pipeline.manifest import read_manifest
from sae_research.pipeline.params import load_params
from sae_research.pipeline.paths import Paths
from sae_research.pipeline.stages.setup import run_setup
from sae_research.training.fit import Pass

TRAIN: Mapping[str, Any] = {
    "dataset": "embedded/text", "layer": 0, "d_sae": 32, "context_size": 32, "training_tokens": 512,
    "train_batch_size_tokens": 128, "store_batch_size_prompts": 4, "n_batches_in_buffer": 2,
}  # fmt: skip
TOPK, GATED = {"architecture": "topk", "k": 2}, {"architecture": "gated"}


@pytest.fixture(scope="module")
def project(finished_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """One copy for all tests here; what they train differs in its seed."""
    return finished_project.copy_to(tmp_path_factory.mktemp("trained") / "project")


@pytest.fixture(scope="module")
def paths(project: Project) -> Paths:
    return Paths(root=project.root, store=project.root / ".sae_cache")


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The SAEs of each pass of the model."""
    seen: list[list[str]] = []
    run = Pass.run

    def noted(self: Pass) -> dict[str, str]:
        seen.append([request.settings.title for request in self.requests])
        return run(self)

    monkeypatch.setattr(Pass, "run", noted)
    return seen


def set_up(project: Project, paths: Paths, *saes: Mapping[str, Any], **more: Any) -> dict[str, dict[str, Any]]:
    """The manifest's entries after `setup` with these parameters, by name."""
    text = paths.params.read_text()
    project.edit({"comparison_saes": list(saes), **more})
    try:
        params = load_params(paths.params)
    finally:
        paths.params.write_text(text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the packages that sae_lens itself imports
        run_setup(params, paths)
    return {entry["name"]: dict(entry) for entry in read_manifest(paths.saes).saes}


def test_saes_are_trained_once_and_found_again(project: Project, paths: Paths, passes: list[list[str]]) -> None:
    both = {"train": {**TRAIN, "saes": [TOPK, GATED]}, "label": "mine"}
    entries = set_up(project, paths, both)
    assert passes == [["topk_k2", "gated"]]
    topk = entries["mine_topk_k2"]
    assert (topk["architecture"], topk["label"], topk["d_sae"], topk["training_tokens"]) == ("topk", "mine", 32, 512)
    assert topk["source"]["dataset"] == "embedded/text"
    folder = paths.saes / "mine_topk_k2"
    record = json.loads((folder / "training.json").read_text())
    assert (record["key"], record["tokens"], record["steps"]) == (topk["source"]["trained"], 512, 4)
    assert any("steps only" in sentence for sentence in record["warnings"])
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    # One more on the same text is trained alone; what has been trained is in the store, or where it was written.
    more = {"train": {**TRAIN, "architecture": "standard"}}
    assert set_up(project, paths, both, more).keys() == {*entries, "standard"}
    shutil.rmtree(paths.store)
    after = set_up(project, paths, both)
    assert passes == [["topk_k2", "gated"], ["standard"]]
    assert after == entries
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    # A damaged folder is no SAE: it is trained again, to the same bytes.
    (folder / "sae_weights.safetensors").write_bytes(b"x")
    assert set_up(project, paths, both)["mine_topk_k2"] == topk
    assert passes[2:] == [["topk_k2"]]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_the_baseline_can_be_trained_in_the_same_pass(project: Project, paths: Paths, passes: list[list[str]]) -> None:
    shared = {**TRAIN, "seed": 1}
    baseline = {"repo_id": None, "filename": None, "train": {**shared, "architecture": "standard", "name": "base"}}
    entries = set_up(project, paths, {"train": {**shared, **TOPK}}, baseline_sae=baseline)
    assert passes == [["base", "topk_k2"]]
    assert {"base", "base_ihtp_k1", "base_mpsae_s4", "topk_k2"} <= entries.keys()
    assert entries["base_ihtp_k1"]["d_sae"] == 32


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"baseline_sae": {"train": {**TRAIN, **TOPK}}}, "baseline_sae: give either repo_id and filename, or train"),
        (
            {"baseline_sae": {"repo_id": None, "filename": None, "train": {**TRAIN, "saes": [TOPK, GATED]}}},
            "train describes 2 SAEs, expected one",
        ),
        ({"comparison_saes": [{"train": {**TRAIN, "layer": None, **TOPK}}]}, "train: give either layer or hook_name"),
        ({"comparison_saes": [{"train": {**TRAIN, **TOPK}, "repo_id": "a/b"}]}, "give either repo_id .* or train"),
        ({"comparison_saes": [{"train": {**TRAIN, **TOPK}}] * 2}, r"comparison_saes\[1\] names the same SAEs"),
        ({"comparison_saes": [{"train": {**TRAIN, "dataset": "~nobodyatall", **TOPK}}]}, r"\[0\].train.dataset is"),
        ({"comparison_saes": [{"train": {**TRAIN, **TOPK, "kk": 1}}]}, "train 'topk_k2': unknown key 'kk'; valid: "),
        ({"comparison_saes": [{"train": {**TRAIN, **TOPK, "layer": 9}}]}, "has 2 layers"),
    ],
)
def test_a_mistake_ends_setup_and_changes_nothing(
    project: Project, paths: Paths, changes: dict[str, Any], message: str
) -> None:
    before = project.outputs()
    with pytest.raises(UserError, match=message):
        set_up(project, paths, *changes.pop("comparison_saes", []), **changes)
    assert project.outputs() == before


def test_what_could_not_be_measured_is_not_trained(
    project: Project, paths: Paths, passes: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sae_research.pipeline.trained.why_unreadable", lambda *_: "no reader")
    with pytest.raises(UserError, match="would be trained, but could not be measured: no reader"):
        set_up(project, paths, {"train": {**TRAIN, **TOPK, "seed": 2}})
    assert passes == []


def test_training_on_the_measured_text_is_told(
    project: Project, paths: Paths, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        set_up(project, paths, {"train": {**TRAIN, **TOPK, "split": "test"}})
    assert "topk_k2: it is trained on the text that core_eval measures (embedded/text, split 'test')" in caplog.text


def test_the_record_of_a_folder_of_ones_own_comes_along(project: Project, paths: Paths, tmp_path: Path) -> None:
    entries = set_up(project, paths, {"train": {**TRAIN, **TOPK, "seed": 3}})
    mine = tmp_path / "mine"
    shutil.copytree(paths.store / "trained" / entries["topk_k2"]["source"]["trained"], mine / "sae")
    set_up(project, paths, {"repo_id": str(mine), "filename": "sae"})
    record = (mine / "sae" / "training.json").read_bytes()
    assert (paths.saes / "topk_sae" / "training.json").read_bytes() == record
