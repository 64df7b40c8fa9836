"""Seed 001's configuration, profiles/pythia-70m.yaml, from a hub on the loopback, under real DVC."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support.hub_server import COMMIT, FakeHub, Fault, running_hub
from support.project import ROOT, Project, make_project
from support.pythia_hub import SAES, SMALL, K, repositories, state_of

from sae_research.yaml_text import read_yaml

pytestmark = pytest.mark.slow

TOKEN = "_".join(["hf", "CANARY", "0123456789"])
"""Joined here, because the project that is searched for it holds this file."""
OFF = ("absorption", "tpp", "ravel", "unlearning", "dashboards")
BASELINE = f"{SAES}/resolve/{COMMIT}/pythia70m_sweep_standard_ctx128_0712/resid_post_layer_4/trainer_8/ae.pt"


def _project(root: Path) -> Project:
    """As the profile has it, with one SAE of each of its releases, fewer controls and evals, and less of its data."""
    made = make_project(root)
    shutil.copy(ROOT / "params.yaml", made.root)
    made.run("python", "-m", "sae_research", "profile", "pythia-70m")
    [entry] = read_yaml(made.root / "params.yaml")["comparison_saes"]
    fewer = {**entry, "sae_id": r"blocks\.4\.hook_resid_post__trainer_10"}
    made.edit({**SMALL, "comparison_saes": [fewer], "eval_types": dict.fromkeys(OFF, False)})
    return made


def _environment(hub: FakeHub, home: Path, **more: str) -> dict[str, str]:
    fixed = {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1"}
    return {
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(home),
        "HF_TOKEN": TOKEN,
        "HF_HUB_OFFLINE": "0",
        **fixed,
        **more,
    }


def _results(project: Project, eval_name: str) -> dict[str, Any]:
    files = (project.root / "eval_results" / eval_name).glob("*_eval_results.json")
    return {file.name.removesuffix("_eval_results.json"): json.loads(file.read_text()) for file in files}


def test_the_profile_runs_from_the_hub(tmp_path: Path) -> None:
    project, home = _project(tmp_path / "project"), tmp_path / "home"
    with running_hub(repositories(tmp_path / "lm")) as hub:
        hub.faults = [
            Fault("api/models/EleutherAI", times=1, status=429, headers={"Retry-After": "1"}),
            Fault("api/datasets/LabHC", times=1, status=503),
            Fault(BASELINE, times=1, reset_after=2000),
        ]
        done = project.repro(env=_environment(hub, home))
    assert done.counts == dict.fromkeys(("core", "sparse_probing", "scr"), (12, 0, 0))
    for fault in ("429", "503"):
        assert fault in done.out
    assert hub.downloads().count(BASELINE) == 2
    asked = [path for _, path in hub.requests]
    assert not [path for path in asked if path.endswith((".bin", ".py"))], "pickled weights, scripts"
    _check_saes(project)
    _check_numbers(project)
    offline = _environment(hub, home, HF_HUB_OFFLINE="1")
    plan = project.run("python", "-m", "sae_research", "plan", env=offline).out
    assert plan.endswith("36 cached, 0 to compute\n")
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 300
    assert [path for path in written if TOKEN.encode() in path.read_bytes()] == []
    assert TOKEN not in done.out + plan


def _check_saes(project: Project) -> None:
    """All came from the hub's one commit, and what SAELens loaded is what was written."""
    manifest = json.loads((project.root / "downloaded_saes/manifest.json").read_text())
    assert manifest["model"] == {"name": "pythia-70m-deduped", "revision": COMMIT}
    names = [entry["name"] for entry in manifest["saes"]]
    releases = [f"sae_bench_pythia70m_sweep_{sweep}" for sweep in ("standard_ctx128_0712", "panneal_ctx128_0730")]
    compared = [f"{release}_blocks.4.hook_resid_post__trainer_10" for release in releases]
    assert names[:5] == [
        "relu_trainer_8",
        *(f"relu_trainer_8_{v}" for v in ("ihtp_k5", "ihtp_k10", "mpsae_s50", "mpsae_s100")),
    ]
    assert {*compared} < {*names} and len(names) == 12
    assert manifest["saes"][0]["source"]["revision"] == COMMIT
    weights = load_file(project.root / "downloaded_saes" / compared[0] / "sae_weights.safetensors")
    torch.testing.assert_close(weights["W_dec"], state_of("AutoEncoder", 10)["decoder.weight"].T)


def _check_numbers(project: Project) -> None:
    core = _results(project, "core")
    [topk] = [document for name, document in core.items() if "_topk_ctx128" in name]
    assert topk["eval_result_metrics"]["sparsity"]["l0"] == K
    data = topk["sae_research"]["key_parts"]["data"]
    assert data == {"Skylion007/openwebtext": FakeHub().commit_of("refs/convert/parquet")}, "the script was not run"
    probing = next(iter(_results(project, "sparse_probing").values()))
    assert {*probing["sae_research"]["key_parts"]["data"]} == {*probing["eval_config"]["dataset_names"]}
    assert len(probing["eval_config"]["dataset_names"]) == 8
