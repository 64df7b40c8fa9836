"""The profile gpt2-ravel from files to pictures, on a random GPT-2 of three layers and what lies in local folders."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML
from support.checkpoints import CHECKPOINTS
from support.project import ROOT, merge
from support.ravel import N_CITIES, write_ravel_tables
from support.saes import random_tensors
from support.tiny_data import write_table
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from sae_research.formats.readers.saelens import write_folder
from sae_research.lm.site import Site
from sae_research.pipeline.params import Params, load_params
from sae_research.pipeline.paths import Paths, find_paths
from sae_research.pipeline.profiles import write_profile
from sae_research.pipeline.stages.evals import run_eval_stage
from sae_research.pipeline.stages.process_results import process_results
from sae_research.pipeline.stages.setup import run_setup
from sae_research.plots.draw import draw_figure
from sae_research.plots.settings import VisualizationSettings
from sae_research.plots.style import find_style
from sae_research.results.figures import planned_figures
from sae_research.results.rows import TABLE_FILE, read_table
from sae_research.saes.base import SaeCard
from sae_research.saes.build import build_sae

N_LAYERS, WIDTH, D_SAE = 3, 16, 40
SAES: Mapping[str, Sequence[str]] = {
    "bloom": ("blocks.0.hook_resid_pre", "blocks.2.hook_resid_pre", "blocks.2.hook_resid_post"),
    "openai": ("blocks.0.hook_resid_post", "blocks.2.hook_resid_post"),
    "apollo_e2e": ("blocks.1.hook_resid_pre",),
    "apollo_e2e_ds": ("blocks.1.hook_resid_pre",),
}
N_SAES = 9
"""Those, the baseline and a control."""
Lines = list[dict[str, str]]


def _tokenizer(texts: Sequence[str]) -> PreTrainedTokenizerFast:
    words = dict.fromkeys(word for text in texts for word in text.split() if word != "%s")
    vocabulary = ["<eos>", *(f"w{i}" for i in range(60)), *words]
    plain = Tokenizer(models.WordLevel({word: i for i, word in enumerate(vocabulary)}, unk_token="w59"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
    return PreTrainedTokenizerFast(tokenizer_object=plain, eos_token="<eos>", bos_token="<eos>")


def _write_model(folder: Path, texts: Sequence[str]) -> tuple[Any, Any]:
    tokenizer = _tokenizer(texts)
    # With these weights the city changes the answer.
    torch.manual_seed(1)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=64, n_embd=WIDTH, n_layer=N_LAYERS, n_head=8, initializer_range=1.0,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    model = GPT2LMHeadModel(config).eval()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model, tokenizer


NAMES = {"bloom": "blocks.{}.hook_{}", "apollo_e2e_ds": "{}-res_scefr-ajt", "local": "{}-res_scl-ajt"}
ORIGINALS = {
    "openai": r"resid_post_mlp_v5_32k/autoencoders/\d+\.pt",
    "apollo_e2e": r"e2e_similar_ce_layer_\d+\.pt",
}
"""The files of the labels that are written as their authors published them."""


def _write_saes(folder: Path) -> None:
    """Two labels in their authors' formats, the others in SAELens' under names that the profile matches, a baseline."""
    places = [(label, Site.parse(name)) for label, names in SAES.items() for name in names]
    for seed, (label, site) in enumerate([*places, ("local", Site(1, "resid_pre"))]):
        if label == "openai":
            file = f"resid_post_mlp_v5_32k/autoencoders/{site.layer}.pt"
            dataclasses.replace(CHECKPOINTS["openai v5"], filename=file).write(folder / label)
        elif label == "apollo_e2e":
            CHECKPOINTS["apollo hub"].write(folder / label)
        else:
            tensors = random_tensors("relu", d_in=WIDTH, d_sae=D_SAE, seed=seed)
            card = SaeCard(name=label, architecture="relu", site=site, d_in=WIDTH, d_sae=D_SAE, model_name="gpt2-small")
            write_folder(build_sae(card, tensors), folder / label / NAMES[label].format(site.layer, site.kind))


def _write_text(folder: Path) -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{i}" for i in rng.integers(60, size=30)) for _ in range(160)]
    write_table(folder, "text", "train", {"text": texts})


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """A workspace with the profile's values, but for the places of files and the sizes."""
    root = tmp_path_factory.mktemp("gpt2")
    shutil.copy(ROOT / "params.yaml", root)
    shutil.copytree(ROOT / "profiles", root / "profiles")
    paths = find_paths(root)
    write_profile("gpt2-ravel", paths)
    yaml = YAML()
    params = yaml.load(paths.params.read_text())
    templates = {attribute: [str(text) for text in texts] for attribute, texts in params["ravel"]["templates"].items()}
    model, tokenizer = _write_model(root / "gpt2", [text for texts in templates.values() for text in texts])
    (root / "prompts").mkdir()
    write_ravel_tables(root / "prompts", model, tokenizer, templates)
    (root / "prompts/ravel_city_attribute_to_prompts.json").write_text(
        '{"Country": ["w58 %s"], "Continent": ["%s w57"]}'
    )
    _write_saes(root / "saes")
    _write_text(root)
    for entry in params["comparison_saes"]:
        entry["repo_id"] = str(root / "saes" / entry["label"])
        entry["files"] = ORIGINALS.get(entry["label"], entry["files"])
    text = str(root / "datasets/text")
    merge(
        params,
        {
            "model": {"name": str(root / "gpt2"), "device": "cpu"},
            "baseline_sae": {"repo_id": str(root / "saes/local"), "filename": "1-res_scl-ajt", "hook_layer": 1},
            "controls": {"dataset": text, "first_text": 120, "n_sequences": 8, "context_size": 16,
                         "topk_atoms": ["pca"], "topk_k": 6},
            "core_eval": {"dataset": text, "context_size": 16, "n_reconstruction_batches": 2, "n_sparsity_batches": 3},
            "ravel": {"dataset": str(root / "prompts"), "num_pairs_per_attribute": 16, "num_epochs": 1, "seeds": [1],
                      "baselines": ["noop", "neurons", "rotation", "mdas"]},
        },
    )  # fmt: skip
    with paths.params.open("w") as file:
        yaml.dump(params, file)
    return paths


@pytest.fixture(scope="module")
def params(paths: Paths) -> Params:
    return load_params(paths.params)


@pytest.fixture(scope="module")
def rows(paths: Paths, params: Params) -> Lines:
    """The table of results after all stages."""
    run_setup(params, paths)
    for name in ("core", "ravel"):
        summary = run_eval_stage(name, params, paths)
        assert (summary.computed, dict(summary.failures)) == (N_SAES, {})
    process_results(paths, params.eval_types)
    return list(csv.DictReader((paths.merged / "results.csv").read_text(encoding="utf-8").splitlines()))


def _values(rows: Lines, metric: str, at: str = "{}") -> dict[str, float]:
    return {row["sae"]: float(row["value"]) for row in rows if (row["metric"], row["at"]) == (metric, at)}


def test_all_families_are_there_at_all_their_layers(rows: Lines) -> None:
    layers: dict[str, set[str]] = {}
    for row in rows:
        layers.setdefault(row["label"], set()).add(f"{row['layer']} {row['hook_name'].rsplit('_', 1)[-1]}")
    assert {label: layers[label] for label in SAES} == {
        "bloom": {"0 pre", "2 pre", "2 post"}, "openai": {"0 post", "2 post"},
        "apollo_e2e": {"1 pre"}, "apollo_e2e_ds": {"1 pre"},
    }  # fmt: skip


def test_the_profiles_prompts_are_those_that_the_model_is_asked(rows: Lines) -> None:
    """They are what the labels answer; the data set's own are nothing that the model knows."""
    kept = _values(rows, "prompts_kept", '{"entity": "city"}')
    assert set(kept.values()) == {1.0}
    assert N_CITIES * 2 == 48


def test_nothing_moves_after_the_last_block(rows: Lines) -> None:
    """Whatever is swapped there: the scores of doing nothing, for every SAE, mask and baseline."""
    last = [row for row in rows if row["hook_name"] == "blocks.2.hook_resid_post" and row["eval"] == "ravel"]
    for kind, expected in (("cause", 0.0), ("isolation", 1.0), ("disentanglement", 0.5)):
        numbers = [(row["metric"], float(row["value"])) for row in last if row["metric"].endswith(f"{kind}_score")]
        # Two SAEs; overall and two attributes; four ways to test an SAE and two to test each of four baselines.
        assert len(numbers) >= 2 * 3 * (4 + 2 * 4)
        assert {value for _, value in numbers} == {expected}
    moved = [
        row for row in rows if row["hook_name"] == "blocks.0.hook_resid_pre" and row["metric"] == "baseline_cause_score"
    ]
    assert any(float(row["value"]) > 0 for row in moved)


def test_doing_nothing_is_the_same_at_every_layer(rows: Lines) -> None:
    assert set(_values(rows, "baseline_disentanglement_score", '{"baseline": "noop"}').values()) == {0.5}


def test_seeds_make_intervals(rows: Lines) -> None:
    assert len(_values(rows, "disentanglement_score_seed_std")) == N_SAES
    assert len(_values(rows, "cause_score", '{"seed": 1}')) == N_SAES


def test_losses_and_accuracies_by_layer_are_tabled(paths: Paths, rows: Lines) -> None:
    text = paths.report.read_text(encoding="utf-8")
    lines = [line for line in text.split("## By layer")[1].split("\n## ")[0].splitlines() if line.startswith("| `")]
    assert len(lines) == N_SAES
    assert lines[0].startswith("| `blocks.0.hook_resid_pre` | `bloom")
    assert lines[-1].startswith("| `blocks.2.hook_resid_post` | `openai")
    assert len(set(_values(rows, "next_token_accuracy_without_sae").values())) == 1


def test_pictures_over_layers_have_a_line_for_each_family_and_for_doing_nothing(paths: Paths, rows: Lines) -> None:
    table, text = read_table(paths.merged / TABLE_FILE), paths.report.read_text(encoding="utf-8")
    figures = {figure.name: figure for figure in planned_figures(table)}
    assert all(f"images/{name}.png" in text for name in figures)
    figure = figures["layers_ravel_disentanglement_score_by_attribute"]
    style = find_style(table, VisualizationSettings(dpi=50))
    drawing = draw_figure(figure, table, style)
    assert [axes.get_title() for axes in drawing.axes] == ["city: Continent", "city: Country"]
    labels = {entry.get_text() for entry in drawing.legends[0].get_texts()}
    assert {*SAES, "Nothing replaced", "Neurons"} <= labels


def test_a_second_run_reuses_everything(paths: Paths, params: Params, rows: Lines) -> None:
    for name in ("core", "ravel"):
        summary = run_eval_stage(name, params, paths)
        assert (summary.computed, summary.reused) == (0, N_SAES)


def test_the_pairs_of_the_original_are_read_by_name(paths: Paths, params: Params, rows: Lines, tmp_path: Path) -> None:
    """As seed 003 has it: its files, its split by pair, its soft masks."""
    cities = json.loads((paths.root / "prompts/ravel_city_entity_attributes.json").read_text())
    for attribute, (template,) in params.settings["ravel"].templates.items():
        asked = [[template.replace("%s", city), values[attribute]]
                 for city, values in list(cities.items())[:6]]  # fmt: skip
        pairs = [list(pair) for pair in itertools.product(asked, repeat=2)]
        (tmp_path / f"final_data_{attribute.lower()}.json").write_text(json.dumps(pairs))
    original = dataclasses.replace(
        params.settings["ravel"],
        dataset=str(tmp_path),
        templates={},
        split="original",
        num_pairs_per_attribute=1600,
        batch_size=4,
        seeds=(),
        baselines=("noop",),
    )
    changed = dataclasses.replace(params, settings={**params.settings, "ravel": original})
    summary = run_eval_stage("ravel", changed, paths)
    assert (summary.computed, dict(summary.failures)) == (N_SAES, {})
    process_results(paths, {"ravel": True})
    lines = list(csv.DictReader((paths.merged / "results.csv").read_text(encoding="utf-8").splitlines()))
    at = '{"attribute": "Country", "entity": "city"}'
    # 36 pairs of either kind in 9 batches: 6 for training, 2 for tests.
    assert (
        set(_values(lines, "n_cause_pairs", at).values())
        == set(_values(lines, "n_isolation_pairs", at).values())
        == {8.0}
    )
    assert set(_values(lines, "n_training_steps", at).values()) == {2 * 6}
    noop = _values(lines, "baseline_cause_score", '{"baseline": "noop"}')
    assert min(noop.values()) > 0, "an entity with itself, and with one of the same country"
