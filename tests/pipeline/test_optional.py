"""The optional evals in the pipeline: all of them on a world whose model knows next to nothing, then one less.

The library's numbers, of all evals, are held against the pipeline's on the way.
"""

from __future__ import annotations

import csv
import io
import json

import pandas as pd
import pytest
from support.every_eval import EVERY_EVAL, OPTIONAL
from support.project import Project

from sae_research import evaluate
from sae_research.cli import main
from sae_research.evals.registry import find_eval
from sae_research.pipeline.params import load_params


def test_all_optional_evals_and_then_one_less(project: Project) -> None:
    n = len(project.status("core"))
    project.edit(EVERY_EVAL)
    done = project.repro()
    assert {name: done.counts[name] for name in OPTIONAL} == dict.fromkeys(OPTIONAL, (n, 0, 0))
    rows = _rows(project)
    for name in OPTIONAL:
        own = [row for row in rows if row["eval"] == name]
        assert len({row["sae"] for row in own}) == n
        # What this model cannot do is a missing number with a reason, never a number.
        assert all(bool(row["value"]) != bool(row["reason"]) for row in own)
    _check_the_library_finds_the_same(project, "topk_k8")
    _check_the_export_holds_the_scores(project, rows)
    project.edit({"eval_types": {"scr": False}})
    assert project.repro().ran == ["optional_evals@scr", "process_results", "visualize"]
    assert json.loads((project.root / "eval_results/scr/_status.json").read_text())["enabled"] is False
    assert not [row for row in _rows(project) if row["eval"] == "scr"]


def _check_the_library_finds_the_same(project: Project, sae: str) -> None:
    params = load_params(project.root / "params.yaml")
    settings = {name: params.settings_of(find_eval(name)) for name in ("core", "sparse_probing", *OPTIONAL)}
    found = evaluate(
        "embedded/lm", project.root / "downloaded_saes" / sae, settings, world=project.root / "world",
        seed=params.random_seed, batch_size=params.model.llm_batch_size, device="cpu", progress=False,
    )  # fmt: skip
    assert [result.eval_name for result in found.results] == list(settings)
    for result in found.results:
        document = project.root / "eval_results" / result.eval_name / f"{sae}_eval_results.json"
        stored = json.loads(document.read_text())["sae_research"]["measurements"]
        ours = {(m.metric, json.dumps(dict(m.at), sort_keys=True)): m.value for m in result.output.measurements}
        theirs = {(m["metric"], json.dumps(m.get("at", {}), sort_keys=True)): m["value"] for m in stored}
        known = {place: value for place, value in theirs.items() if value is not None}
        assert ours.keys() == theirs.keys()
        assert {place for place, value in ours.items() if value is not None} == known.keys()
        # Documents hold rounded numbers; with other threads the model's own passes differ in their last digits.
        assert {place: ours[place] for place in known} == pytest.approx(known, rel=1e-4, abs=1e-6), result.eval_name


def _check_the_export_holds_the_scores(project: Project, rows: list[dict[str, str]]) -> None:
    """The mean of what sae-sensitivity's files say of an SAE's latents is its score in the table and in METRICS.md."""
    scores = {
        row["sae"]: row for row in rows if row["metric"] == "sensitivity" and json.loads(row["at"]) == {"percent": 0}
    }
    folder = project.root / "exported"
    assert main(["export", "sensitivity", str(folder), "--results", str(project.root / "eval_results")]) == 0
    assert {path.name for path in folder.iterdir()} == set(scores)
    n_scored = 0
    for sae, row in scores.items():
        stats = pd.read_csv(folder / sae / "feature_stats.csv")["generated_sensitivity"].dropna()
        assert bool(row["value"]) == bool(len(stats)), row["reason"]
        if len(stats):
            n_scored += 1
            assert stats.mean() == pytest.approx(float(row["value"]))
    assert n_scored > len(scores) / 2
    report = (project.root / "METRICS.md").read_text()
    assert "Sensitivity" in report


def _rows(project: Project) -> list[dict[str, str]]:
    table = (project.root / "eval_results" / "merged" / "results.csv").read_text()
    return list(csv.DictReader(io.StringIO(table)))
