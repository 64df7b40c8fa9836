"""SAEs at several layers of the embedded world's model: setup, core, RAVEL and the report in one run."""

from __future__ import annotations

import csv
import json

import pytest
from support.project import Project
from support.saes import random_tensors
from support.stage_server import StageServer

from sae_research.formats.readers.saelens import write_folder
from sae_research.lm.site import Site
from sae_research.saes.base import SaeCard
from sae_research.saes.build import build_sae


@pytest.mark.slow
def test_a_sweep_over_the_layers_of_the_embedded_model(project: Project, server: StageServer) -> None:
    config = json.loads((project.root / "world/models/lm/config.json").read_text())
    width, layers = config["hidden_size"], range(config["num_hidden_layers"])
    for layer in layers:
        card = SaeCard(
            name=f"layer_{layer}", architecture="topk", site=Site(layer, "resid_post"), d_in=width, d_sae=2 * width,
            model_name="embedded/lm", hyperparameters={"k": 8},
        )  # fmt: skip
        tensors = random_tensors("topk", d_in=width, d_sae=2 * width, seed=layer)
        write_folder(build_sae(card, tensors), project.root / "layers" / card.name)
    project.edit({
        "sae_variants": {"ihtp": {"enabled": False}, "mpsae": {"enabled": False}},
        "comparison_saes": [{"repo_id": "layers", "files": r"layer_\d+", "label": "swept"}],
        "eval_types": {"sparse_probing": False, "ravel": True},
        "ravel": {"num_pairs_per_attribute": 8, "num_epochs": 1, "baselines": ["noop"]},
    })  # fmt: skip
    for stage in ("setup_saes", "run_core_eval"):
        assert server.run(project.root, f"scripts.{stage}").code == 0
    ravel = server.run(project.root, "scripts.run_optional_evals", "--eval", "ravel")
    assert ravel.code == 0, ravel.out
    # One more is the baseline SAE, which is of layer 0.
    assert ravel.counts["ravel"] == (len(layers) + 1, 0, 0)
    done = server.run(project.root, "scripts.process_results")
    assert done.code == 0, done.out
    rows = list(csv.DictReader((project.root / "eval_results/merged/results.csv").read_text().splitlines()))
    of_ravel = {row["sae"]: row["layer"] for row in rows if row["eval"] == "ravel" and row["label"] == "swept"}
    assert sorted(of_ravel.values()) == [str(layer) for layer in layers]
    assert {row["metric"] for row in rows if row["eval"] == "ravel" and row["value"]} >= {"prompts_kept"}
    by_layer = (project.root / "METRICS.md").read_text().split("## By layer")[1].split("\n## ")[0]
    assert [line.split("`")[1] for line in by_layer.splitlines() if "| swept |" in line] == [
        f"blocks.{layer}.hook_resid_post" for layer in layers
    ]
