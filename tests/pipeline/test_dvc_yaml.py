"""What can be said of `dvc.yaml` without running it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from sae_research.code_version import WITHOUT_INFLUENCE, import_closure
from sae_research.evals.registry import eval_names, find_eval, optional_evals
from sae_research.formats.registry import format_names
from sae_research.reference.registry import reference_module, reference_names
from sae_research.results.latent_notes import NOTES_FILE
from sae_research.saes.registry import architectures
from sae_research.yaml_text import read_yaml

ROOT = Path(__file__).parents[2]
_OPTIONAL = read_yaml(ROOT / "dvc.yaml")["stages"]["optional_evals"]["foreach"]
ALL_STAGES = {name: stage.get("do", stage) for name, stage in read_yaml(ROOT / "dvc.yaml")["stages"].items()}
# One always runs, whatever has changed.
STAGES = {name: stage for name, stage in ALL_STAGES.items() if not stage.get("always_changed")}
# What they hold reaches a stage only as values of params.yaml, which DVC tracks by themselves, or as
# local_folders.json.
_ELSEWHERE = ("local_folders", "params", "runtime")
LEFT_OUT = WITHOUT_INFLUENCE | {f"sae_research.pipeline.{name}" for name in _ELSEWHERE}
# By stage, the evals that it computes.
EVALS = {
    "core_eval": ["core"],
    "sparse_probing_eval": ["sparse_probing"],
    "optional_evals": [*optional_evals()],
    "dashboards": ["dashboards"],
}


def _modules_found_by_name(stage: str) -> list[str]:
    """The modules that a stage does not import: it finds them by the names of evals, architectures and formats."""
    names = EVALS.get(stage, [])
    modules = [find_eval(name).module for name in names]
    modules += [reference_module(name) for name in names if name in reference_names()]
    if stage in {"setup", *EVALS}:
        modules += [f"sae_research.saes.architectures.{name}" for name in architectures()]
        modules += [f"sae_research.formats.readers.{name}" for name in format_names()]
    return modules


@pytest.mark.parametrize("name", STAGES)
def test_every_module_that_a_stage_reaches_is_among_its_dependencies(name: str) -> None:
    stage = STAGES[name]
    script = next(word for word in stage["cmd"].split() if word.startswith("scripts."))
    reached = {m for root in [script, *_modules_found_by_name(name)] for m in import_closure(root, LEFT_OUT)}
    files = {f"{module.replace('.', '/')}.py" for module in reached}
    files = {file for file in files if (ROOT / file).is_file()}
    missing = sorted(f for f in files if not any(f == dep or f.startswith(f"{dep}/") for dep in stage["deps"]))
    assert missing == []
    # What the files of plug-ins declare, of themselves, is read through these.
    for room in ("evals", "saes"):
        if f"sae_research.{room}.registry" in reached:
            assert {"sae_research", f"sae_research/{room}"} & set(stage["deps"])


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_has_at_most_twelve_dependencies_beside_the_results_of_evals(name: str) -> None:
    evals = {f"eval_results/{name}" for name in eval_names()}
    assert len(set(STAGES[name]["deps"]) - evals) <= 12


def test_one_stage_alone_always_runs_and_needs_nothing_of_the_large_libraries() -> None:
    assert ALL_STAGES.keys() - STAGES.keys() == {"local_folders"}
    code = "import sys, sae_research.pipeline.stages.local_folders; print({'torch', 'pandas'} & {*sys.modules})"
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True).stdout
    assert shown.strip() == "set()"


def test_every_optional_eval_has_a_stage() -> None:
    assert sorted(_OPTIONAL) == sorted(optional_evals())


def test_data_sets_of_ones_own_are_a_parameter_of_the_evals_that_read_them() -> None:
    readers = {"sparse_probing"} | {name for name, of_eval in _OPTIONAL.items() if of_eval["data"] == "data_sets"}
    assert readers == {
        name for name in eval_names() if "dataset_names" in {f.name for f in fields(find_eval(name).settings)}
    }
    stages = {name for name, stage in STAGES.items() if "data_sets" in stage.get("params", [])}
    assert stages == {"sparse_probing_eval"}
    # The others name their data sets in their own section.
    assert all(of_eval["data"] in ("data_sets", name) for name, of_eval in _OPTIONAL.items())


def test_the_table_is_merged_from_every_eval() -> None:
    merged = {dep.removeprefix("eval_results/") for dep in STAGES["process_results"]["deps"] if "eval_results" in dep}
    assert merged == {"core", "sparse_probing", *optional_evals()}


def test_what_looks_closer_runs_after_the_table_of_notes_and_nothing_before_it_needs_it() -> None:
    for name in eval_names():
        stages = [stage for stage, evals in EVALS.items() if name in evals]
        assert len(stages) == 1
        reads_notes = f"eval_results/merged/{NOTES_FILE}" in STAGES[stages[0]]["deps"]
        assert reads_notes is find_eval(name).looks_closer
    assert "eval_results/dashboards" not in STAGES["process_results"]["deps"]


def test_what_only_changes_speed_is_no_stages_parameter() -> None:
    declared = {param for stage in STAGES.values() for param in stage.get("params", []) if isinstance(param, str)}
    speed = {"model", "model.device", "model.llm_batch_size", "activation_caching", "execution", "judging"}
    assert declared.isdisjoint(speed | {f"execution.{name}" for name in ("executor", "address", "gpus_per_worker")})


def test_who_shares_a_pass_is_a_parameter_of_the_stages_that_compute() -> None:
    computing = {name for name, stage in STAGES.items() if "execution.group_gigabytes" in stage.get("params", [])}
    assert computing == {*EVALS}


def test_thresholds_of_health_are_read_by_the_tables_alone() -> None:
    assert [name for name, stage in STAGES.items() if "health" in stage.get("params", [])] == ["process_results"]


def test_outputs_stay_ignored_by_git_after_they_are_removed() -> None:
    outs = [
        name
        for stage in ALL_STAGES.values()
        for out in stage["outs"]
        for name in ([out] if isinstance(out, str) else out)
    ]
    ignored = [out for out in outs if out not in {"METRICS.md", "docs/figures/overview.png", "local_folders.json"}]
    ignored = [out.replace("${key}", "absorption") for out in ignored]
    # As folders: rules that end in a slash hold for names that do not exist only when asked for as folders.
    asked = [out if out.endswith(".json") else f"{out}/" for out in ignored]
    shown = subprocess.run(["git", "check-ignore", *asked], cwd=ROOT, capture_output=True, text=True).stdout
    assert shown.split() == asked
