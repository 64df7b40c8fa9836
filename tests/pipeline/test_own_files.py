"""Stages remove what they have written, and nothing else; a cell is computed from the SAE that its key names."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support.bench import Bench

CORE_AGAIN = {"core_eval": {"n_sparsity_batches": 3}}


@pytest.mark.parametrize(
    ("stage", "file"),
    [("setup_saes", "downloaded_saes/my_sae/weights.pt"), ("run_core_eval", "eval_results/core/notes.md")],
)
def test_files_of_the_user_stay(bench: Bench, stage: str, file: str) -> None:
    path = bench.root / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")
    try:
        run = bench.run(stage, {})
        assert run.code == 0
        assert path.read_text() == "mine"
        assert "no stage has written" in run.out
    finally:
        shutil.rmtree(path.parent) if path.parent.name == "my_sae" else path.unlink()


@pytest.mark.parametrize(("stage", "name"), [("setup_saes", "downloaded_saes"), ("run_core_eval", "eval_results/core")])
def test_a_folder_behind_a_link_is_refused_and_left_alone(bench: Bench, tmp_path: Path, stage: str, name: str) -> None:
    folder, elsewhere = bench.root / name, tmp_path / "shared"
    shutil.copytree(folder, elsewhere)
    (elsewhere / "others").mkdir()
    aside = folder.rename(tmp_path / "aside")
    folder.symlink_to(elsewhere)
    try:
        run = bench.run(stage, {})
        assert run.code == 1
        assert "is a link to" in run.out
        assert (elsewhere / "others").is_dir()
    finally:
        folder.unlink()
        aside.rename(folder)


def test_a_cell_is_computed_from_the_sae_that_its_key_names_or_not_at_all(bench: Bench, tmp_path: Path) -> None:
    """As when another run of setup has put another SAE of the same name there."""
    saes = bench.root / "downloaded_saes"
    victim, other = saes / "topk_k8", saes / "topk_k16"
    shutil.copytree(victim, tmp_path / "topk_k8")
    shutil.rmtree(victim)
    shutil.copytree(other, victim)
    config = json.loads((victim / "cfg.json").read_text())
    config["sae_research"]["name"] = victim.name
    (victim / "cfg.json").write_text(json.dumps(config))
    try:
        run = bench.run("run_core_eval", CORE_AGAIN)
        assert run.code == 1
        computed, reused, failed = run.counts["core"]
        assert (reused, failed) == (0, 1)
        assert computed > 1
        assert "'topk_k8'" in run.out
        assert "run the setup stage" in run.out
    finally:
        shutil.rmtree(victim)
        shutil.copytree(tmp_path / "topk_k8", victim)
        assert bench.run("run_core_eval", {}).code == 0
