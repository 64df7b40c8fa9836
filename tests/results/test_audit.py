"""Verdicts on metrics, from results on disk to the tables and the report: each metric gets the one it deserves."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.workspace import Workspace, make_card, make_core

from sae_research.cli import main
from sae_research.errors import UserError
from sae_research.evaluation import Evaluation
from sae_research.measurements import EvalOutput, Measurement, Result, measured
from sae_research.metrics.intervals import Estimate, jackknife
from sae_research.pipeline.stages.process_results import process_results
from sae_research.results.audit import audit_columns
from sae_research.results.merge import read_entries, tidy_rows

L0 = (6.0, 7, 8, 9, 16, 18, 20, 22, 24, 40)
"""Of ten trained SAEs: four at 6 to 9, five at 16 to 24, and one that has no company at its L0."""
CONTROL_L0 = (8.0, 17.0)
NAMES = (*(f"s{i}" for i in range(10)), "c0", "c1")
GROUPS = 32


def _noise(scale: float, seed: int) -> np.ndarray:
    """(SAE, group): noise whose means over groups are exactly 0, and what a group does to all SAEs alike."""
    rng = np.random.default_rng(seed)
    own = rng.normal(scale=scale, size=(len(NAMES), GROUPS))
    return own - own.mean(axis=1, keepdims=True) + rng.normal(scale=0.1, size=GROUPS)


def _scores(truth: Sequence[float], scale: float, seed: int) -> list[Estimate]:
    """Means over 32 sequences with these expectations."""
    rows = np.array(truth)[:, None] + _noise(scale, seed)
    ones = np.ones(GROUPS)
    return [jackknife({"a": row, "n": ones}, lambda s: {"mean": s["a"] / s["n"]})["mean"] for row in rows]


# Of twelve SAEs, the last two being controls.
SPREAD = [0.80, 0.86, 0.83, 0.81, 0.87, 0.84, 0.88, 0.82, 0.85, 0.89, 0.2, 0.3]
LOWER_IS_BETTER = [1 - value for value in SPREAD]
COLUMNS: Mapping[str, tuple[Sequence[float], float]] = {
    "explained_variance": (SPREAD, 0.01),
    "mse": (LOWER_IS_BETTER, 0.09),
    "ce_loss_score": ([0.9] * 10 + [0.1, 0.1], 0.05),
    "ce_loss_score_unigram": ([0.5 + 0.05 * math.log(l0) for l0 in L0] + [0.1, 0.1], 0.005),
    "cossim": ([0.5, 0.6, 0.7, 0.9, 0.901, 0.9, 0.899, 0.9, 0.9, 0.9, 0.1, 0.1], 0.01),
    "frac_alive": ([*SPREAD[:10], 0.2, 0.84], 0.01),
}


@pytest.fixture
def audited(workspace: Workspace) -> Workspace:
    """Ten trained SAEs and two controls whose metrics differ in one property each."""
    columns = {name: _scores(truth, scale, seed) for seed, (name, (truth, scale)) in enumerate(COLUMNS.items())}
    for i, name in enumerate(NAMES):
        base = make_core(make_card(name, control=name.startswith("c")), l0=(*L0, *CONTROL_L0)[i])
        others = [m for m in base.output.measurements if m.metric not in columns]
        scores = [measured(metric, estimates[i]) for metric, estimates in columns.items()]
        bare = Measurement("ce_loss_increase", 0.1 * i)
        workspace.add(
            Result(base.key, "core", base.sae, base.settings, base.key_parts, EvalOutput((*others, *scores, bare)))
        )
    process_results(workspace.paths, {"core": True})
    return workspace


def _audit(workspace: Workspace, panel: str = "trained") -> Any:
    table = pd.read_parquet(workspace.paths.merged / "audit.parquet")
    return table[table.panel == panel].set_index("column")


def test_every_metric_gets_the_verdict_that_it_deserves(audited: Workspace) -> None:
    verdicts = _audit(audited).verdicts
    assert verdicts.to_dict() | {"l0": ""} == {
        "explained_variance": "usable",
        "mse": "large differences only",
        "ce_loss_score": "do not use to tell these SAEs apart",
        "ce_loss_score_unigram": "reads L0",
        "cossim": "at the ceiling",
        "frac_alive": "fails a control",
        "ce_loss_increase": "not tested",
        "l0": "",
    }


def test_the_noise_is_the_size_that_was_put_in_and_what_groups_share_is_no_noise(audited: Workspace) -> None:
    audit = _audit(audited)
    for metric, (truth, scale) in COLUMNS.items():
        assert audit.sigma_e[metric] == pytest.approx(scale / math.sqrt(GROUPS), rel=0.1), metric
        if metric in ("explained_variance", "ce_loss_score_unigram"):
            assert audit.sigma_s[metric] == pytest.approx(np.std(truth[:10], ddof=1), rel=0.01), metric
    assert audit.n_draws["mse"] == GROUPS
    assert audit.draws["mse"] == "test units"


def test_every_verdict_rests_on_a_number_in_the_table(audited: Workspace) -> None:
    audit = _audit(audited)
    assert audit.reliability_low["explained_variance"] >= 0.8
    assert audit.reliability["mse"] >= 0.5
    assert audit.reliability_low["mse"] < 0.8
    assert audit.no_signal_p["ce_loss_score"] > 0.05
    assert audit.l0_share["ce_loss_score_unigram"] > 0.7
    assert audit.ceiling_share["cossim"] == pytest.approx(6 / 9)
    assert audit.reason["ce_loss_increase"] == "no replicates over test units"


def test_the_closest_control_is_named_with_the_sae_that_it_passes(audited: Workspace) -> None:
    audit = _audit(audited).loc["frac_alive"]
    assert (audit.controls, audit.closest_control, audit.closest_sae) == (2, "c1", "s0")
    assert audit.control_margin == pytest.approx(0.80 - 0.84)
    assert audit.control_margin_low < audit.control_margin < audit.control_margin_high < 0
    assert audit.told_above_control == pytest.approx(5 / 10), "0.85 and more are above 0.84, and 0.84 is not"
    lower = _audit(audited).loc["mse"]
    assert lower.control_margin == pytest.approx(0.80 - 0.30), "lower is better"


def test_saes_at_matched_l0_are_panels_of_their_own_with_the_controls_of_that_l0(audited: Workspace) -> None:
    table = pd.read_parquet(audited.paths.merged / "audit.parquet")
    assert list(table.panel.unique()) == ["trained", "controls", "L0 6 to 9", "L0 16 to 24"]
    low, high = (_audit(audited, name) for name in ("L0 6 to 9", "L0 16 to 24"))
    assert (set(low.saes), set(high.saes)) == ({4}, {5})
    assert (low.closest_control["mse"], high.closest_control["mse"]) == ("c0", "c1")
    assert low.l0_share.isna().all(), "three coefficients fit four ranks whatever they are"
    assert set(_audit(audited, "controls").reason) == {"2 SAEs; at least 3 are needed"}


def test_both_forms_of_the_table_hold_the_same(audited: Workspace) -> None:
    table = pd.read_parquet(audited.paths.merged / "audit.parquet")
    lines = list(csv.DictReader(io.StringIO((audited.paths.merged / "audit.csv").read_text())))
    assert list(lines[0]) == list(table.columns)
    assert [line["verdicts"] for line in lines] == list(table.verdicts)
    assert float(lines[0]["reliability"]) == table.reliability[0]


def test_the_report_marks_columns_and_explains_each_sign_once(audited: Workspace) -> None:
    report = audited.paths.report.read_text()
    table = report.split("### core")[1]
    header = next(line for line in table.splitlines() if line.startswith("| SAE | architecture |"))
    for title in (
        "Explained variance ↑",
        "dimension] ↓ ≈",
        "ablation ↑ ✗",
        "frequencies ↑ ∝",
        "similarity ↑ ⊤",
        "alive ↑ !",
    ):
        assert any(cell.strip().endswith(title.replace("dimension", "token")) for cell in header.split("|")), title
    section = report.split("## Which numbers to trust")[1].split("\n## ")[0]
    for sign, verdict in zip(
        "≈✗∝⊤!?", ("large", "do not use", "reads L0", "at the ceiling", "fails", "not tested"), strict=True
    ):
        assert report.count(f"- {sign} *{verdict}") == 1
        assert f"- {sign} *{verdict}" in section
    assert "the 10 trained SAEs of this run" in section
    assert "are `c0`, `c1`." in section
    line = next(line for line in section.splitlines() if line.startswith("| core | Fraction of latents alive"))
    assert "`c1`: margin -0.0400 [" in line


def test_the_order_and_the_company_of_saes_change_no_number(audited: Workspace) -> None:
    entries = read_entries(audited.paths.results, None, {"core": True})
    rows = tidy_rows(entries)
    forward = {(a.panel, a.column): a for a in audit_columns(entries, rows)}
    back = {(a.panel, a.column): a for a in audit_columns(entries[::-1], tidy_rows(entries[::-1]))}
    for place, audit in forward.items():
        same = {k: v for k, v in vars(audit).items() if isinstance(v, float)}
        assert {k: vars(back[place])[k] for k in same} == pytest.approx(same), place
    fewer = [entry for entry in entries if entry.sae_name not in ("s9", "c0", "c1")]
    band = {a.column: a for a in audit_columns(fewer, tidy_rows(fewer)) if a.panel == "L0 16 to 24"}
    assert band["mse"].reliability == forward["L0 16 to 24", "mse"].reliability


def test_an_sae_that_interpolates_is_in_no_panel(audited: Workspace) -> None:
    entries = read_entries(audited.paths.results, None, {"core": True})
    rows = [_with(row, interpolates=0.9) if row.sae == "s9" else row for row in tidy_rows(entries)]
    assert {a.saes for a in audit_columns(entries, rows) if a.panel == "trained"} == {9}


def _with(row: Any, **changes: Any) -> Any:
    return type(row)(**{**vars(row), **changes})


def test_saes_that_were_measured_on_other_units_are_left_out_of_a_column(audited: Workspace) -> None:
    entries = read_entries(audited.paths.results, None, {"core": True})
    for entry in entries[:2]:
        assert entry.result is not None
        for m in entry.result.output.measurements:
            if m.metric == "mse":
                object.__setattr__(m, "replicates", m.replicates[:20])
    audits = {(a.panel, a.column): a for a in audit_columns(entries, tidy_rows(entries))}
    assert (audits["trained", "mse"].saes, audits["trained", "explained_variance"].saes) == (8, 10)
    few = audits["L0 6 to 9", "mse"]
    assert few.reason == "2 of 4 SAEs have replicates over the same test units; 3 are needed"


def test_seeds_take_the_place_of_test_units(workspace: Workspace) -> None:
    """Of an eval that was repeated, each draw is a repetition, with all that a repetition changes."""
    table = np.array([[0.80, 0.82, 0.84], [0.70, 0.71, 0.75], [0.90, 0.93, 0.93]])
    for name, by_seed in zip("abc", table, strict=True):
        at = {"k": 1}
        seeds = [Measurement("sae_top_k_test_accuracy", v, at={**at, "seed": s}) for s, v in enumerate(by_seed)]
        whole = Measurement(
            "sae_top_k_test_accuracy", by_seed.mean(), at=at, replicates=tuple(by_seed.mean() + _noise(1, 0)[0])
        )
        settings = {"dataset_names": ["x"], "k_values": [1]}
        parts = {"model": {"name": "m", "revision": "r", "dtype": "float32"}, "seed": 1}
        output = EvalOutput((whole, *seeds))
        workspace.add(Result(name, "sparse_probing", make_card(name), settings, parts, output))
    process_results(workspace.paths, {"sparse_probing": True})
    audit = _audit(workspace).loc["sae_top_1_test_accuracy"]
    assert (audit.draws, audit.n_draws) == ("seeds", 3)
    alpha = 3 / 2 * (1 - table.var(axis=0, ddof=1).sum() / table.sum(axis=1).var(ddof=1))
    assert audit.reliability == pytest.approx(alpha)
    assert "In `sparse_probing` it is what differs between seeds" in workspace.paths.report.read_text()


def test_two_saes_are_too_few_and_the_report_says_so(workspace: Workspace) -> None:
    for name in "ab":
        workspace.add(make_core(make_card(name)))
    process_results(workspace.paths, {"core": True})
    assert set(_audit(workspace).reason) == {"2 SAEs; at least 3 are needed"}
    report = workspace.paths.report.read_text()
    assert "not tested ?: 2 SAEs; at least 3 are needed" in report
    assert "No SAE is a control" in report


def test_the_command_prints_the_table_of_a_finished_run(audited: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "--results", str(audited.paths.results)]) == 0
    section = audited.paths.report.read_text().split("## Which numbers to trust")[1].split("\n## ")[0]
    assert capsys.readouterr().out.split("## Which numbers to trust")[1].strip() == section.strip()


def test_the_command_takes_controls_for_results_that_mark_none(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    for name, ev in (("a", 0.9), ("b", 0.8), ("c", 0.7), ("r", 0.75)):
        base = make_core(make_card(name))
        score = measured("explained_variance", Estimate(ev, ev, ev, tuple(ev + _noise(0.01, 3)[ord(name) % 12] / 100)))
        workspace.add(Result(base.key, "core", base.sae, base.settings, base.key_parts, EvalOutput((score,))))
    command = ["audit", "--results", str(workspace.paths.results), "--controls"]
    assert main([*command, "r"]) == 0
    assert "| fails a control ! |" in capsys.readouterr().out
    assert main([*command, "q"]) == 1
    assert caplog.messages == ["controls: no SAE is called q; valid: a, b, c, r"]


@pytest.mark.parametrize(
    ("of_control", "verdicts", "margin"),
    [
        (0.99, "fails a control; not tested", -0.03),
        (0.955, "fails a control; not tested", 0.005),
        (0.5, "not tested", 0.46),
    ],
)
def test_without_draws_a_control_is_compared_by_intervals(
    workspace: Workspace, of_control: float, verdicts: str, margin: float
) -> None:
    for name, alive in (("a", 0.97), ("b", 0.98), ("c", 0.96), ("r", of_control)):
        base = make_core(make_card(name, control=name == "r"))
        score = measured("frac_alive", Estimate(alive, alive - 0.004, alive + 0.003))
        workspace.add(Result(base.key, "core", base.sae, base.settings, base.key_parts, EvalOutput((score,))))
    process_results(workspace.paths, {"core": True})
    audit = _audit(workspace).loc["frac_alive"]
    assert audit.verdicts == verdicts
    assert audit.control_margin == pytest.approx(margin)
    assert audit.closest_control == "r"
    assert audit.control_margin_low == pytest.approx(audit.control_margin - math.hypot(0.004, 0.003))


def test_a_folder_without_results_is_named(
    workspace: Workspace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert main(["audit", "--results", str(tmp_path / "none")]) == 1
    workspace.disable("core")
    assert main(["audit", "--results", str(workspace.paths.results)]) == 1
    for folder, message in zip((tmp_path / "none", workspace.paths.results), caplog.messages, strict=True):
        assert message.startswith(f"{folder} holds no finished eval")
        assert message.endswith("run `dvc repro`, or give the results of a finished run with --results FOLDER")
    workspace.fail("core", "a", "no weights")
    assert main(["audit", "--results", str(workspace.paths.results)]) == 1
    assert "every cell of core failed" in caplog.messages[-1]


def test_the_library_audits_what_it_measured(audited: Workspace) -> None:
    entries = read_entries(audited.paths.results, None, {"core": True})
    evaluation = Evaluation(tuple(entry.result for entry in entries if entry.result is not None))
    by_column = {a.column: a.verdicts for a in evaluation.audit() if a.panel == "trained"}
    assert by_column["explained_variance"] == "usable"
    strict = {a.column: a.verdicts for a in evaluation.audit(controls=["s9"]) if a.panel == "trained"}
    assert strict["explained_variance"] == "fails a control"
    with pytest.raises(UserError, match="controls: no SAE is called nobody; valid: s0, s1"):
        evaluation.audit(controls=["nobody"])
