"""Parameters under which all evals run on the tiny world in seconds, and what computes and publishes them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from support.project import Finished, Project, merge
from support.stage_server import StageServer

from sae_research.evals.registry import eval_names
from sae_research.pipeline.params import load_params
from sae_research.pipeline.paths import find_paths
from sae_research.pipeline.stages.evals import run_eval_stage
from sae_research.pipeline.stages.setup import run_setup

OPTIONAL = ("absorption", "scr", "tpp", "ravel", "unlearning", "sensitivity", "autointerp")
EVALS = ("core", "sparse_probing", *OPTIONAL)
EVERY_EVAL: dict[str, Any] = {
    "eval_types": {name: name in EVALS for name in eval_names()},
    "scr": {"dataset_names": ["embedded/bios"], "train_size": 20, "test_size": 20, "n_values": [2, 5]},
    "tpp": {"dataset_names": ["embedded/news"], "train_size": 20, "test_size": 20, "n_values": [2, 5]},
    "absorption": {"k_sparse_probe_num_epochs": 5, "max_k_value": 2},
    "ravel": {"num_pairs_per_attribute": 16, "num_epochs": 1, "das_dimension": 4},
    "unlearning": {"n_rows": 8, "required_orders": 1},
    "sensitivity": {"n_rows": 150, "n_latents": 5, "reading": {"n_texts": 500}},
    "autointerp": {"n_rows": 150, "n_latents": 5, "reading": {"n_texts": 500}},
}
FEW_SAES: dict[str, Any] = {
    "sae_variants": {"ihtp": {"enabled": False}, "mpsae": {"enabled": False}},
    "comparison_saes": [
        {"repo_id": "embedded/sae-topk", "filename": "k8"},
        {"repo_id": "embedded/sae-untrained", "filename": "k16", "label": "untrained", "control": True},
    ],
}
"""The baseline, and these two."""


def unfilled_copy(finished_project: Project, folder: Path, *, group_gigabytes: float) -> Project:
    """Three SAEs and all evals of the tiny world, nothing computed."""
    project = finished_project.copy_to(folder)
    shutil.rmtree(project.root / ".sae_cache" / "cells")
    shutil.rmtree(project.root / "eval_results")
    changes: dict[str, Any] = {"execution": {"group_gigabytes": group_gigabytes}}
    merge(changes, {**EVERY_EVAL, **FEW_SAES})
    project.edit(changes)
    paths = find_paths(project.root)
    run_setup(load_params(paths.params), paths)
    return project


def run_stages(project: Project) -> dict[str, tuple[int, int]]:
    """Runs the stage of every eval in this process; (computed, reused) by eval."""
    paths = find_paths(project.root)
    params = load_params(paths.params)
    summaries = {name: run_eval_stage(name, params, paths) for name in EVALS}
    assert not any(summary.failures for summary in summaries.values()), summaries
    return {name: (summary.computed, summary.reused) for name, summary in summaries.items()}


def run_command(server: StageServer, project: Project, *arguments: str, **env: str) -> Finished:
    """`python -m sae_research <arguments>`."""
    return server.run(project.root, "sae_research", *arguments, env=env)


def results_of(project: Project) -> dict[str, bytes]:
    """What the eval stages published."""
    return {name: content for name, content in project.outputs().items() if name.startswith("eval_results/")}
