"""`python -m sae_research train`: seed 004's command line as it is written, and what is refused."""

from __future__ import annotations

import argparse
import json
import logging
import shlex
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from safetensors.torch import load_file
from support.project import ROOT
from support.training import D_IN
from support.training import lens_imported as lens_imported

from sae_research.commands import train
from sae_research.errors import UserError
from sae_research.formats.registry import read_sae
from sae_research.pipeline.sections import ComparisonSae
from sae_research.records import read_record
from sae_research.training.lens import build_config

SEED_004 = [
    "--layer", "1", "--expansion_factor", "32", "--training_tokens", "5000", "--lr", "1e-4", "--l1_coefficient", "5.0",
    "--normalize_activations", "none", "--output_name", "llama_layer12_sae_saelens_500k",
    "--train_batch_size_tokens", "1024", "--context_size", "16",
]  # fmt: skip
"""With other sizes; names of model and data set are added."""


def run(*arguments: str) -> None:
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    train.run(parser.parse_args(arguments))


@pytest.fixture
def folder(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder; model and text lie elsewhere."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def places(world: Path) -> list[str]:
    return ["--model_name", str(world / "models" / "lm"), "--dataset_path", str(world / "datasets" / "text")]


def test_seed_004s_command_line_trains_an_sae_of_a_local_model(
    folder: Path, places: list[str], caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.INFO):
        run(*places, *SEED_004)
    shown = "\n".join(record.getMessage() for record in caplog.records)
    assert "5,120 activations of blocks.1.hook_resid_post: 5 steps of 1,024" in shown
    assert "5,120 tokens are 10 for each of 512 latents" in shown
    assert capsys.readouterr().out == "checkpoints/llama_layer12_sae_saelens_500k\n"
    made = folder / "checkpoints" / "llama_layer12_sae_saelens_500k"
    assert {path.name for path in made.iterdir()} == {
        "cfg.json", "runner_cfg.json", "sae_weights.safetensors", "sparsity.safetensors", "training.json",
    }  # fmt: skip
    sae = read_sae(made, name="seed", source={})
    assert (sae.card.architecture, sae.card.d_in, sae.card.d_sae) == ("relu", D_IN, 32 * D_IN)
    assert (sae.card.site.hook_name, sae.card.training_tokens) == ("blocks.1.hook_resid_post", 5000)
    assert json.loads((made / "training.json").read_text())["options"] == {"l1_coefficient": 5.0}


def test_the_examples_of_the_documentation_are_understood() -> None:
    text = (ROOT / "docs" / "training.md").read_text()
    command, example = (block.partition("\n```")[0] for block in (text.split("```\n")[1], text.split("```yaml\n")[1]))
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    words = shlex.split(command.replace("\\\n", " "))
    assert words[:4] == ["python", "-m", "sae_research", "train"]
    (seed,) = train.settings_of(parser.parse_args(words[4:]))
    assert (seed.width(4096), seed.steps, seed.options) == (131_072, 489, {"l1_coefficient": 5.0})
    (entry,) = YAML(typ="safe", pure=True).load(example)["comparison_saes"]
    read = read_record(ComparisonSae, entry, where="comparison_saes").trainings
    assert [settings.title for settings in read] == ["topk_k8", "topk_k16", "batchtopk_k16", "relu_2"]
    assert len({settings.text for settings in read}) == 1
    for settings in read:
        build_config(settings, 128)


def test_sae_lens_itself_loads_what_was_trained(folder: Path, places: list[str]) -> None:
    from sae_lens import SAE

    run(*places, *SEED_004)
    made = "checkpoints/llama_layer12_sae_saelens_500k"
    theirs = SAE.load_from_disk(made)
    assert theirs.cfg.metadata.model_name == places[1]
    assert theirs.state_dict().keys() == load_file(f"{made}/sae_weights.safetensors").keys()


def test_several_saes_of_a_file_and_a_second_call(
    folder: Path, places: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "saes.yaml").write_text(
        "layer: 0\nd_sae: 24\ncontext_size: 16\ntrain_batch_size_tokens: 40\ntraining_tokens: 9\n"
        "saes:\n  - {architecture: topk, k: 2}\n  - {architecture: batchtopk, k: 3}\n"
    )
    call = [*places, "--config", "saes.yaml", "--training_tokens", "400", "--set", "aux_loss_coefficient=0.5"]
    run(*call)
    shown = capsys.readouterr().out
    assert shown == "checkpoints/topk_k2\ncheckpoints/batchtopk_k3\n"
    record = json.loads(Path("checkpoints/topk_k2/training.json").read_text())
    assert (record["tokens"], record["options"]) == (400, {"k": 2, "aux_loss_coefficient": 0.5})
    run(*call)
    assert capsys.readouterr().out == shown
    with pytest.raises(UserError, match="checkpoints/topk_k2 exists and holds something else than this SAE; choose"):
        run(*call, "--seed", "7")


def test_a_dry_run_writes_nothing(folder: Path, places: list[str], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        run(*places, *SEED_004, "--dry_run")
    assert any("this takes about" in record.getMessage() for record in caplog.records)
    assert [path for path in folder.rglob("*") if path.is_file()] == []


def test_what_cannot_be_measured_is_told_before_it_is_trained(
    folder: Path, places: list[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sae_research.training.readable.from_lens", _refuse)
    run(*places, *SEED_004, "--dry_run")
    assert "this SAE can be trained, but not measured here: no reader" in caplog.text


def _refuse(*_: object, **__: object) -> None:
    raise UserError("no reader")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--layer", "5"], r"blocks\.5\.hook_resid_post: model .* has 2 layers; valid layers: 0 to 1"),
        (["--dataset_path", "./nowhere"], "data set './nowhere': there is no such folder"),
        (["--normalize_activations", "expected_average_in_and_out"], "valid: none, expected_average_only_in"),
        (["--k", "4"], "unknown key 'k'; valid: .*for architecture standard: .*l1_coefficient"),
        (["--set", "lr"], "--set lr: expected NAME=VALUE"),
        (["--architecture", "topk", "--set", "l1_coefficient=1"], "unknown key 'l1_coefficient'"),
        (["--config", "none.yaml"], "none.yaml"),
    ],
)
def test_a_mistake_is_one_message_and_leaves_nothing(
    folder: Path, places: list[str], more: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        run(*places, *SEED_004, *more)
    assert [path for path in folder.rglob("*") if path.is_file()] == []
