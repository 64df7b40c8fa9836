"""Mistakes in the parameters, damage to models, data and results: one message with the remedy, nothing lost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.bench import ELSEWHERE, Bench, Config

from sae_research.sources.hub import Hub

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("stage", ["setup_saes", "run_core_eval", "run_sparse_probing", "process_results"])
def test_a_mistake_in_the_parameters_ends_every_stage_at_once(bench: Bench, stage: str) -> None:
    bench.refused(
        stage, {"core_eval": {"n_batches": 3}}, r"params.yaml.core_eval: unknown key 'n_batches'; valid: .*split"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sae_variant": {}}, r"unknown key 'sae_variant'; valid: random_seed, model, baseline_sae, engine"),
        ({"sae_variants": {"fista": {}}}, r"sae_variants: unknown key 'fista'; valid: abstopk, batchtopk"),
        ({"eval_types": {"mdl": True}}, r"eval_types: unknown key 'mdl'; valid: core, sparse_probing"),
        ({"eval_types": {"core": "yes"}}, r"eval_types.core: got 'yes' \(str\), expected bool"),
        ({"eval_types": {"tpp": True}, "tpp": {"n": 3}}, r"params.yaml.tpp: unknown key 'n'; valid: dataset_names"),
        ({"model": {"torch_dtype": "fp32"}}, r"model.torch_dtype: got 'fp32' \(str\); valid: float32, bfloat16"),
        ({"model": {"device": "tpu"}}, r"device is 'tpu'; valid: auto, cpu, cuda, cuda:N"),
        ({"sparse_probing": {"dataset_names": ["imdb"]}}, r"data set 'imdb' is not known; valid: .*embedded/bios"),
        ({"sparse_probing": {"k_values": [0]}}, r"k_values holds 0, expected at least 1"),
        ({"sae_variants": {"ihtp": {"k_values": 5}}}, r"sae_variants.ihtp.k_values: got 5, expected a list"),
        ({"sae_variants": {"ihtp": {"k_values": [10**6]}}}, r"sae_variants.ihtp: SAE .*: k is 1000000, but d_sae is"),
        ({"sae_variants": {"mpsae": {"s_values": [0]}}}, r"sae_variants.mpsae: SAE .*: s is 0, expected at least 1"),
        ({"sae_variants": {"mpsae": {"s_values": [10**6]}}}, r"sae_variants.mpsae: SAE .*: s is 1000000, but d_sae is"),
        ({"baseline_sae": {"hook_layer": 1}}, r"hook_layer is 1, but .* was trained on layer 0; correct hook_layer"),
        ({"baseline_sae": {"hook_layer": -1}}, r"hook_layer is -1, expected at least 0"),
        ({"baseline_sae": {"filename": "none/ae.pt"}}, r"has no file or folder 'none/ae.pt'; correct 'filename'; it h"),
        ({"baseline_sae": {"repo_id": "embedded/sae-x"}}, r"no folder .*; build it with .*; it has: .*embedded/sae-r"),
        ({"model": {"name": "embedded/x"}}, r"'embedded/x': the embedded world has no folder .*it has: .*embedded/lm"),
        ({"model": {"name": "lab/lm"}}, r"baseline_sae.repo_id names embedded/sae-relu, which belongs to the embedded"),
    ],
)  # fmt: skip
def test_wrong_parameters_are_named_with_what_is_valid(bench: Bench, changes: Config, message: str) -> None:
    bench.refused("setup_saes", changes, message)


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere"])
def test_a_missing_model_folder_costs_nothing_not_even_the_world(bench: Bench, name: str) -> None:
    message = rf"model '{name}': there is no such folder .*; correct the path, or give a hub id such as"
    bench.refused("setup_saes", {"model": {"name": name}, **ELSEWHERE}, message)


def test_an_unreachable_hub_says_what_was_wanted_and_what_to_do(bench: Bench) -> None:
    changes = {"model": {"name": "lab/lm"}, **ELSEWHERE}
    shown = bench.refused(
        "setup_saes", changes, r"model 'lab/lm': the list of its files at revision 'main': not in the"
    )
    assert "unset HF_HUB_OFFLINE, or give a local folder" in shown


# Models and data


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "config.json").unlink(), r"lm has no config.json"),
        (lambda f: (f / "config.json").write_text("{"), r"cannot read the config of the model in .*lm"),
    ],
)
def test_a_model_folder_without_a_sound_config_is_refused(
    bench: Bench, tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    folder = Path(shutil.copytree(bench.root / "world/models/lm", tmp_path / "lm"))
    damage(folder)
    baseline = {"repo_id": str(bench.root / "world/models/sae-relu")}
    bench.refused("setup_saes", {**ELSEWHERE, "model": {"name": str(folder)}, "baseline_sae": baseline}, message)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def _nan_weights(path: Path) -> None:
    state = load_file(path)
    state["gpt_neox.layers.0.mlp.dense_h_to_4h.weight"].fill_(torch.nan)
    save_file(state, path, metadata={"format": "pt"})


MODEL_DAMAGES: Mapping[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (lambda f: _cut(f / "model.safetensors"), r"model 'embedded/lm': cannot load .*lm: "),
    "NaN": (lambda f: _nan_weights(f / "model.safetensors"), r"logits are not finite in torch.float32; .*repair the"),
    "only pickled": (
        lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
        r"no .safetensors file \(pickled .bin weights are never loaded\); choose",
    ),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), r"has no tokenizer \(none of tokenizer.json"),
}  # fmt: skip


@pytest.mark.parametrize("damage", MODEL_DAMAGES)
def test_a_damaged_model_ends_the_evals_and_setup_restores_it(bench: Bench, damage: str) -> None:
    apply, message = MODEL_DAMAGES[damage]
    model, manifest = bench.root / "world/models/lm", bench.root / "downloaded_saes/manifest.json"
    again = {"core_eval": {"n_sparsity_batches": 3}}
    kept = manifest.read_bytes()
    apply(model)
    changed = r"folder 'embedded/lm': its content is sha256:\w+, expected sha256:\w+; .*run the setup stage again"
    bench.refused("run_core_eval", again, changed)
    # As if it had been so from the start.
    content = json.loads(kept)
    content["model"]["revision"] = Hub(bench.root / "world").model("embedded/lm").revision
    manifest.write_text(json.dumps(content))
    bench.refused("run_core_eval", again, message)
    assert bench.run("setup_saes", {}).code == 0
    assert manifest.read_bytes() == kept


def _data_set(folder: Path, **columns: list[Any]) -> str:
    for split in ("train", "test"):
        (folder / "data").mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), folder / "data" / f"{split}-00000-of-00001.parquet")
    return str(folder)


def test_text_that_is_empty_too_short_or_in_another_column_is_named(bench: Bench, tmp_path: Path) -> None:
    def refused(dataset: str, message: str, **settings: Any) -> None:
        bench.refused("run_core_eval", {"core_eval": {"dataset": dataset, **settings}}, message)

    empty = _data_set(tmp_path / "empty", text=pa.array([], pa.string()))
    refused(
        empty,
        r"split 'test' of data set '.*/empty': 0 rows of 128 tokens, needed 12; ask for fewer rows .* or give a larger",
    )
    refused(_data_set(tmp_path / "nulls", text=pa.array([None, ""], pa.string())), r"0 rows of 128 tokens, needed 12")
    refused("embedded/text", r"rows of 128 tokens, needed 4000004; ask for fewer rows", n_sparsity_batches=10**6)
    refused(_data_set(tmp_path / "other", body=["x"]), r"other.*no column.*text.*body")
    refused("embedded/text", r"data set 'embedded/text' has no 'dev' split; its files: data/test", split="dev")
    refused("embedded/tex", r"data set 'embedded/tex': .*it has: .*embedded/text")
    refused("./nowhere", r"data set './nowhere': there is no such folder")
    table = Path(_data_set(tmp_path / "cut", text=["some text"] * 1000)) / "data" / "test-00000-of-00001.parquet"
    table.write_bytes(table.read_bytes()[:100])
    refused(str(tmp_path / "cut"), r"test-00000-of-00001.parquet.*(damaged|truncated|no parquet|not.*parquet)")


def test_a_class_that_is_too_small_is_named_with_what_is_needed(bench: Bench) -> None:
    bench.refused(
        "run_sparse_probing", {"sparse_probing": {"train_size": 100000}},
        r"'embedded/news', train split: class '\w+' has \d+ texts, needed 50000; lower the number of texts per class",
    )  # fmt: skip


def test_a_probe_of_more_latents_than_there_are_is_missing_with_its_reason(bench: Bench) -> None:
    before = bench.project.outputs()
    assert bench.run("run_sparse_probing", {"sparse_probing": {"k_values": [1, 10**6]}}).code == 0
    assert bench.run("process_results", {}).code == 0
    table = (bench.root / "eval_results/merged/results.csv").read_text().splitlines()
    rows = [line for line in table if "relu_trainer_1," in line and "sae_top_1000000_test_accuracy" in line]
    assert rows
    assert all("fewer latents than k = 1000000" in row for row in rows), rows
    for stage in ("run_sparse_probing", "process_results"):
        assert bench.run(stage, {}).code == 0
    assert bench.project.outputs() == before


def test_a_damaged_data_set_of_the_world_is_named_and_restored_by_setup(bench: Bench) -> None:
    [table] = (bench.root / "world/datasets/news/data").glob("test*.parquet")
    table.unlink()
    bench.refused("run_sparse_probing", {}, r"'embedded/news'.*test")
    assert bench.run("setup_saes", {}).code == 0
    again = bench.run("run_sparse_probing", {})
    assert again.counts["sparse_probing"][0] == 0 < again.counts["sparse_probing"][1]


# What a stage reads of the stages before it


@pytest.mark.parametrize("stage", ["run_core_eval", "run_sparse_probing", "process_results"])
@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_without_a_sound_manifest_the_setup_stage_is_asked_for(bench: Bench, stage: str, content: str | None) -> None:
    manifest = bench.root / "downloaded_saes" / "manifest.json"
    kept = manifest.read_bytes()
    manifest.unlink() if content is None else manifest.write_text(content)
    try:
        bench.refused(stage, {}, r"manifest.json .*run the setup stage")
    finally:
        manifest.write_bytes(kept)


def test_damaged_results_are_named_or_made_again(bench: Bench) -> None:
    result = next((bench.root / "eval_results/core").glob("*_eval_results.json"))
    sound = result.read_bytes()
    result.write_bytes(sound[:500])
    bench.refused("process_results", {}, rf"{result.name}.*")
    assert bench.run("run_core_eval", {}).counts["core"][0] == 0
    assert result.read_bytes() == sound
    table = bench.root / "eval_results/merged/results.parquet"
    kept = table.read_bytes()
    table.write_bytes(kept[:500])
    try:
        bench.refused("visualize_results", {}, r"results.parquet.*process_results")
        table.unlink()
        bench.refused("visualize_results", {}, r"results.parquet.*process_results")
    finally:
        table.write_bytes(kept)


def test_a_damaged_cell_of_the_store_is_computed_again_alone(bench: Bench) -> None:
    before = bench.project.outputs()
    cell = json.loads(next((bench.root / "eval_results/core").glob("*_eval_results.json")).read_text())
    key = cell["sae_research"]["key"]
    stored = bench.root / ".sae_cache/cells" / key[:2] / f"{key}.json"
    stored.write_bytes(stored.read_bytes()[:-100])
    stored.with_suffix(".parts").write_text("{")
    shutil.rmtree(bench.root / "eval_results/core")
    done = bench.run("run_core_eval", {})
    assert done.counts["core"][0] == 1
    assert "damaged" in done.out
    assert bench.project.outputs() == before


def test_what_a_user_keeps_in_a_result_folder_stays_and_is_no_result(bench: Bench) -> None:
    before, notes = bench.project.outputs(), bench.root / "eval_results/core/notes.txt"
    notes.write_text("x")
    assert bench.run("run_core_eval", {}).code == 0
    assert notes.read_text() == "x"
    notes.unlink()
    assert bench.project.outputs() == before
