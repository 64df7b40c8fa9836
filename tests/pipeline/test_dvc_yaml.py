"""What can be said of `dvc.yaml` without running it."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sae_research.code_version import WITHOUT_INFLUENCE, import_closure
from sae_research.pipeline.params import EvalTypes, read_yaml
from sae_research.reference.registry import reference_module, reference_names

ROOT = Path(__file__).parents[2]
STAGES = read_yaml(ROOT / "dvc.yaml")["stages"]
# What they hold reaches a stage only as values of params.yaml, which DVC tracks by themselves.
LEFT_OUT = WITHOUT_INFLUENCE | {"sae_research.pipeline.params", "sae_research.pipeline.runtime"}


def _unrolled() -> dict[str, tuple[dict[str, Any], list[str]]]:
    """The stages, those of a matrix one by one, each with the evals that it finds by name."""
    found: dict[str, tuple[dict[str, Any], list[str]]] = {}
    for name, stage in STAGES.items():
        for value in stage.get("matrix", {}).get("eval", []):
            found[f"{name}@{value}"] = stage, [f"sae_research.evals.{value}"]
        files = [dep for dep in stage["deps"] if dep.startswith("sae_research/evals/") and dep.endswith(".py")]
        if "matrix" not in stage:
            found[name] = stage, [_module(file) for file in files]
    return found


def _module(file: str) -> str:
    return file.removesuffix(".py").replace("/", ".")


UNROLLED = _unrolled()


def _code_dependencies(stage: dict[str, Any]) -> list[str]:
    return [dep for dep in stage["deps"] if dep.startswith(("scripts", "sae_research"))]


@pytest.mark.parametrize("name", UNROLLED)
def test_every_module_that_a_stage_reaches_is_among_its_dependencies(name: str) -> None:
    stage, evals = UNROLLED[name]
    module = _module(next(dep for dep in stage["deps"] if dep.startswith("scripts/")))
    assert f"python -m {module}" in stage["cmd"]
    roots = [module, *evals]
    # Engine `sae_bench` finds its module by the eval's name.
    roots += [reference_module(name) for name in reference_names() if f"sae_research.evals.{name}" in evals]
    reached = {name for root in roots for name in import_closure(root, LEFT_OUT)}
    files = {(m.replace(".", "/") + ".py") for m in reached if (ROOT / (m.replace(".", "/") + ".py")).is_file()}
    missing = sorted(f for f in files if not any(f == d or f.startswith(d + "/") for d in _code_dependencies(stage)))
    assert missing == []


def test_matrix_lists_are_literal_and_never_empty() -> None:
    evals = STAGES["optional_evals"]["matrix"]["eval"]
    assert evals == [f.name for f in dataclasses.fields(EvalTypes) if f.name not in {"core", "sparse_probing"}]
    assert evals


def test_what_only_changes_speed_is_no_stages_parameter() -> None:
    declared = {param for stage in STAGES.values() for param in stage.get("params", [])}
    assert declared.isdisjoint({"model", "model.device", "model.llm_batch_size", "activation_caching"})


def test_outputs_stay_ignored_by_git_after_they_are_removed() -> None:
    outs = [
        name for stage in STAGES.values() for out in stage["outs"] for name in ([out] if isinstance(out, str) else out)
    ]
    ignored = [out for out in outs if out not in {"METRICS.md", "docs/figures/overview.png"}]
    ignored = [out.replace("${item.eval}", "absorption") for out in ignored]
    # As folders: rules that end in a slash hold for names that do not exist only when asked for as folders.
    asked = [f"{out}/" for out in ignored]
    shown = subprocess.run(["git", "check-ignore", *asked], cwd=ROOT, capture_output=True, text=True).stdout
    assert shown.split() == asked
