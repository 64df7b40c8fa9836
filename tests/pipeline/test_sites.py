"""SAEs that SAELens trained on a Hugging Face model name a module; the setup stage finds its site."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support.project import Project

from sae_research.pipeline.manifest import read_manifest
from sae_research.pipeline.params import load_params
from sae_research.pipeline.paths import find_paths
from sae_research.pipeline.stages.setup import run_setup

pytestmark = pytest.mark.slow

SITES = {
    "gpt_neox.layers.0": "blocks.0.hook_resid_post",
    "gpt_neox.layers.0.mlp": "blocks.0.hook_mlp_out",
    "gpt_neox.layers.0.attention": "blocks.0.hook_attn_out",
}


def test_a_module_that_no_norm_follows_is_the_site_of_its_other_name(finished_project: Project, tmp_path: Path) -> None:
    project = finished_project.copy_to(tmp_path / "project")
    for module in SITES:
        folder = Path(shutil.copytree(project.root / "world/models/sae-topk/k8", tmp_path / "saes" / module))
        config = json.loads((folder / "cfg.json").read_text())
        config["metadata"] |= {"hook_name": module, "model_class_name": "AutoModelForCausalLM"}
        (folder / "cfg.json").write_text(json.dumps(config))
    entries = [{"repo_id": str(tmp_path / "saes"), "filename": module} for module in SITES]
    project.edit({"comparison_saes": entries})
    paths = find_paths(project.root)
    run_setup(load_params(paths.params), paths)
    saes = {e["source"]["filename"]: e for e in read_manifest(paths.saes).saes if e["source"]["filename"] in SITES}
    assert {module: entry["hook_name"] for module, entry in saes.items()} == SITES
    assert len({entry["digest"] for entry in saes.values()}) == len(SITES)
