from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

import pytest

from sae_research.evals.registry import find_eval
from sae_research.pipeline.cells import Cell, differences, plan_cells
from sae_research.pipeline.manifest import Manifest
from sae_research.pipeline.params import Params, load_params
from sae_research.pipeline.plan import why_missing
from sae_research.pipeline.store import PastCell
from sae_research.reference import registry
from sae_research.reference.registry import require_installed
from sae_research.sources.hub import Hub

PARTS: dict[str, Any] = {
    "sae": "d1", "code": "c1", "seed": 42, "settings": {"n_batches": 200, "k_values": [1]}, "model": {"name": "lm"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, []),
        ({"seed": 43}, ["seed 42 -> 43"]),
        ({"settings": {"n_batches": 400, "k_values": [1]}}, ["settings.n_batches 200 -> 400"]),
        ({"settings": {"n_batches": 200, "k_values": [1, 2]}}, ["settings.k_values [1] -> [1, 2]"]),
        ({"code": "c2"}, ["changed code"]),
        ({"code": "c2", "sae": "d2"}, ["changed code", "changed SAE"]),
    ],
)
def test_differences_in_words(change: dict[str, Any], said: list[str]) -> None:
    assert differences(PARTS, PARTS | change) == said


def test_name_label_and_control_are_no_part_of_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hub, "dataset_revision", lambda *_: "r")
    params = load_params(Path(__file__).parents[2] / "params.yaml")
    site = "blocks.0.hook_resid_post"
    entry = {"name": "topk_k16", "architecture": "topk", "label": "topk", "digest": "d", "hook_name": site}

    def key(**change: Any) -> str:
        manifest = Manifest({"name": "embedded/lm", "revision": "r"}, ({**entry, **change},))
        [cell] = plan_cells(params, manifest, find_eval("core"), Hub(tmp_path))
        return cell.key

    assert key(name="random_k16", label="random", control=True) == key()
    assert key(digest="e") != key()


def test_how_gpus_multiply_is_part_of_every_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hub, "dataset_revision", lambda *_: "r")
    params = load_params(Path(__file__).parents[2] / "params.yaml")
    entry = {"name": "k", "architecture": "topk", "digest": "d", "hook_name": "blocks.0.hook_resid_post"}
    manifest = Manifest({"name": "embedded/lm", "revision": "r"}, (entry,))
    fast = dataclasses.replace(params, model=dataclasses.replace(params.model, tf32=True))
    for evaluated in map(find_eval, ("core", "ravel")):
        [usual], [unusual] = (plan_cells(p, manifest, evaluated, Hub(tmp_path)) for p in (params, fast))
        assert usual.key != unusual.key
        assert differences(usual.parts, unusual.parts) == ["model.tf32 null -> true"]


def test_a_local_model_counts_by_its_content_and_not_by_how_its_path_is_spelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hub, "dataset_revision", lambda *_: "r")
    monkeypatch.chdir(tmp_path)
    for name, config in (("lm", "{}"), ("copy", "{}"), ("other", "[]")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(config)
    (tmp_path / "link").symlink_to("lm")
    params = load_params(Path(__file__).parents[2] / "params.yaml")
    sae = {"name": "k", "architecture": "topk", "digest": "d", "hook_name": "blocks.0.hook_resid_post"}

    def key(name: str) -> str:
        manifest = Manifest({"name": name, "revision": Hub(tmp_path).model(name).revision}, (sae,))
        [cell] = plan_cells(params, manifest, find_eval("core"), Hub(tmp_path))
        assert cell.parts["model"]["name"] == name
        return cell.key

    spellings = (f"{tmp_path}/lm", f"{tmp_path}/lm/", f"../{tmp_path.name}/lm", "./link", "./copy")
    assert len({key(name) for name in spellings}) == 1
    assert key("./other") != key("./lm")


def _cell(**change: Any) -> Cell:
    return Cell(sae={"name": "topk"}, eval_name="core", key="k", parts=PARTS | change, model_parts={})


@pytest.mark.parametrize(
    ("past", "said"),
    [
        ([], "never computed"),
        ([PastCell("sparse_probing", "topk", PARTS)], "never computed"),
        ([PastCell("core", "relu", PARTS | {"sae": "other"})], "new SAE"),
        ([PastCell("core", "topk", PARTS | {"sae": "other"})], "changed SAE"),
        (
            [PastCell("core", "topk", PARTS | {"seed": 1, "code": "x"}), PastCell("core", "b", PARTS | {"seed": 2})],
            "seed 2 -> 42",
        ),
        ([PastCell("core", "topk", PARTS)], "its result is damaged"),
    ],
)
def test_why_a_cell_is_missing_is_said_by_the_nearest_stored_one(past: list[PastCell], said: str) -> None:
    assert why_missing(_cell(), past) == said


def test_the_version_of_sae_bench_stands_in_the_keys_of_its_cells_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Hub, "dataset_revision", lambda *_: "r")
    entry = {"name": "a", "architecture": "topk", "digest": "d", "hook_name": "blocks.0.hook_resid_post"}
    manifest = Manifest({"name": "embedded/lm", "revision": "r"}, (entry,))
    native = load_params(Path(__file__).parents[2] / "params.yaml")
    official = dataclasses.replace(native, engine="sae_bench", eval_types={"core": True})

    def parts(params: Params) -> dict[str, Any]:
        return dict(plan_cells(params, manifest, find_eval("core"), Hub(tmp_path))[0].parts)

    assert "engine_version" not in parts(native)
    assert parts(official)["engine_version"] == registry.COMPARED_WITH
    require_installed()
    assert caplog.messages == []
    monkeypatch.setattr(registry, "version", lambda _: "0.7.0")
    assert differences(parts(official), {**parts(official), "engine_version": "0.6.0"}) == [
        'engine_version "0.7.0" -> "0.6.0"'
    ]
    assert differences(parts(native), parts(official)) == ['engine "native" -> "sae_bench"']
    require_installed()
    assert "SAEBench 0.7.0 is installed; parity is shown for 0.6.0" in caplog.text
    requirement = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert f"sae-bench=={registry.COMPARED_WITH}" in requirement["optional-dependencies"]["reference"]
