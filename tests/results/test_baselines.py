"""RAVEL's baselines beside the SAEs: lines of the report, parties of comparisons, controls of the audit."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.workspace import make_card

from sae_research.measurements import EvalOutput, Measurement, Result, measured
from sae_research.metrics.intervals import Estimate
from sae_research.pipeline.stages.process_results import process_results

NOISE = np.random.default_rng(0).normal(size=(8, 32)) * 1e-3
"""Replicates of numbers whose standard error is about .006."""
LEVELS = {"neurons": 0.62, "rotation": 0.66, "mdas": 0.8, "noop": 0.5}


def _score(metric: str, value: float, noise: Sequence[float], **at: Any) -> Measurement:
    return measured(metric, Estimate(value, value - 0.06, value + 0.06, tuple(value + n for n in noise)), at)


def _ravel(card: Mapping[str, Any], score: float, noise: int, levels: Mapping[str, float] = LEVELS) -> Result:
    of_sae = [
        _score("disentanglement_score", score, NOISE[noise]),
        _score("cause_score", score, NOISE[noise]),
        Measurement("n_test_entities", 32.0),
        Measurement("n_cause_pairs", 144.0),
        Measurement("n_isolation_pairs", 143.0),
        Measurement("n_training_steps", 21.0),
    ]
    of_baselines = [
        _score(f"baseline_{metric}", level, NOISE[4 + i], baseline=name)
        for i, (name, level) in enumerate(levels.items())
        for metric in ("disentanglement_score", "cause_score")
    ]
    output = EvalOutput((*of_sae, *of_baselines))
    return Result(f"ravel-{card['name']}", "ravel", card, {}, {}, output, {})


def _report(workspace: Any, scores: Mapping[str, float], levels: Mapping[str, float] = LEVELS) -> str:
    for i, (name, score) in enumerate(scores.items()):
        workspace.add(_ravel(make_card(name), score, i, levels))
    process_results(workspace.paths, {"ravel": True})
    return workspace.paths.report.read_text(encoding="utf-8")


def _lines(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


BELOW = {"a": 0.45, "b": 0.655, "c": 0.3}


def test_baselines_are_the_last_lines_of_the_table_with_intervals(workspace: Any) -> None:
    section = _report(workspace, BELOW).split("### ravel")[1].split("##")[0].strip().splitlines()
    first = next(i for i, line in enumerate(section) if line.startswith("| *baselines* |"))
    assert section[first + 1 :] == [
        f"| `baseline:{name}` | {title} | – | – | {interval} | {interval} |"
        for name, title, interval in (
            ("neurons", "Neurons", "0.6200 [0.5600, 0.6800]"),
            ("rotation", "Random rotation", "0.6600 [0.6000, 0.7200]"),
            ("mdas", "Learned rotation, all attributes (MDAS)", "0.8000 [0.7400, 0.8600]"),
            ("noop", "Nothing replaced", "0.5000 [0.4400, 0.5600]"),
        )
    ]


def test_the_table_says_what_a_number_rests_on(workspace: Any) -> None:
    assert (
        "What a number rests on: Entities of test pairs (RAVEL) 32, Test pairs for cause (RAVEL) 144, Test pairs for "
        "isolation (RAVEL) 143, Training steps of a mask (RAVEL) 21."
    ) in _report(workspace, BELOW)


def test_the_finding_is_that_no_sae_reaches_a_random_rotation(workspace: Any) -> None:
    opening = _report(workspace, BELOW).split("## Main columns")[0]
    assert (
        "- *Disentanglement (RAVEL)* ↑: no SAE reaches *Random rotation* (0.6600), and 2 of 3 are significantly "
        "below it. Best of them: `b` (0.6550); `a` is 0.205 ["
    ) in opening


def test_an_sae_above_in_value_alone_is_not_told_above(workspace: Any) -> None:
    opening = _report(workspace, {"a": 0.45, "b": 0.67, "c": 0.3}).split("## Main columns")[0]
    assert (
        "no SAE is significantly above *Random rotation* (0.6600). Best of them: `b` (0.6700); `a` is 0.220 ["
        in opening
    )


def test_an_sae_that_passes_every_baseline_but_the_learned_one_is_best(workspace: Any) -> None:
    opening = _report(workspace, {"a": 0.45, "b": 0.75, "c": 0.3}).split("## Main columns")[0]
    assert "no SAE" not in opening
    assert "- *Disentanglement (RAVEL)* ↑: `b` (0.7500); `a` is 0.300 [" in opening


def test_each_sae_is_compared_with_each_baseline(workspace: Any) -> None:
    _report(workspace, BELOW)
    pairs = _lines(workspace.paths.merged / "comparisons.csv")
    of_score = [pair for pair in pairs if pair["column"] == "disentanglement_score"]
    assert len(of_score) == 7 * 6 / 2
    (pair,) = [p for p in of_score if (p["sae_a"], p["sae_b"]) == ("a", "baseline:rotation")]
    assert (pair["method"], pair["with_baseline"], pair["better"]) == ("paired", "true", "baseline:rotation")
    assert float(pair["difference"]) == pytest.approx(-0.21)
    assert float(pair["ci_low"]) < -0.21 < float(pair["ci_high"]) < 0


def test_baselines_leave_the_pairs_of_saes_as_they_are(workspace: Any, tmp_path: Path) -> None:
    _report(workspace, BELOW)
    with_baselines = _lines(workspace.paths.merged / "comparisons.csv")
    _report(type(workspace)(tmp_path / "other"), BELOW, levels={})
    alone = _lines(tmp_path / "other/eval_results/merged/comparisons.csv")
    assert [pair for pair in with_baselines if pair["with_baseline"] == "false"] == alone


def test_every_score_has_its_difference_to_a_random_rotation(workspace: Any) -> None:
    _report(workspace, BELOW)
    rows = _lines(workspace.paths.merged / "results.csv")
    (row,) = [r for r in rows if (r["sae"], r["metric"]) == ("a", "disentanglement_score")]
    assert float(row["over_rotation"]) == pytest.approx(-0.21)
    assert float(row["over_rotation_low"]) < -0.21 < float(row["over_rotation_high"])
    assert not any(r["over_rotation"] for r in rows if r["metric"] not in ("disentanglement_score", "cause_score"))


def test_the_audit_holds_saes_against_baselines_that_learned_nothing(workspace: Any) -> None:
    _report(workspace, BELOW)
    audits = {a["column"]: a for a in _lines(workspace.paths.merged / "audit.csv") if a["panel"] == "trained"}
    score, cause = audits["disentanglement_score"], audits["cause_score"]
    assert (score["controls"], score["closest_control"], score["closest_sae"]) == ("3", "baseline:rotation", "c")
    assert "fails a control" in score["verdicts"]
    assert cause["controls"] == "2", "who replaces nothing has no cause score worth a comparison"


def test_baselines_of_two_sites_keep_apart(workspace: Any) -> None:
    other = make_card("deep", hook_name="blocks.1.hook_resid_post")
    workspace.add(_ravel(other, 0.5, 3, {**LEVELS, "rotation": 0.4}))
    text = _report(workspace, BELOW)
    section = text.split("### ravel")[1].split("##")[0]
    for layer, level in ((0, "0.6600"), (1, "0.4000")):
        site = f"blocks.{layer}.hook_resid_post"
        assert f"| `baseline:rotation at {site}` | `{site}` | Random rotation | – | – | {level} [" in section
    rows = {(r["sae"], r["metric"]): r for r in _lines(workspace.paths.merged / "results.csv")}
    assert float(rows["deep", "disentanglement_score"]["over_rotation"]) == pytest.approx(0.1)
    assert float(rows["a", "disentanglement_score"]["over_rotation"]) == pytest.approx(-0.21)


@pytest.mark.parametrize(("score", "reached"), [(0.5, True), (0.405, False)])
def test_an_sae_is_held_against_the_baselines_of_its_own_site(workspace: Any, score: float, reached: bool) -> None:
    """Those of the other site are out of its reach."""
    other = make_card("deep", hook_name="blocks.1.hook_resid_post")
    workspace.add(_ravel(other, score, 3, {"rotation": 0.4}))
    opening = _report(workspace, BELOW).split("## Main columns")[0]
    assert ("no SAE is significantly above the best baseline of its site" not in opening) is reached
