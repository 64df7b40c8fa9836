from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sae_research.measurements import Result
from sae_research.pipeline.stages.process_results import process_results
from sae_research.results.rows import read_table

BOTH = {"core": True, "sparse_probing": True, "absorption": False}


def _digests(root: Path) -> dict[str, str]:
    files = [*(root / "eval_results" / "merged").iterdir(), root / "metrics.json", root / "METRICS.md"]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_the_stage_writes_every_promised_file_and_nothing_beside(filled: Any) -> None:
    summary = process_results(filled.paths, BOTH)
    assert (summary.saes, summary.failed) == (3, 1)
    merged = {path.name for path in filled.paths.merged.iterdir()}
    tables = {"results.csv", "results.parquet", "comparisons.csv", "comparisons.parquet", "audit.csv", "audit.parquet"}
    assert merged == tables | {
        "replicates.parquet",
        "latent_notes.parquet",
        "results.json",
        "plots.json",
        "settings.csv",
        "health.json",
    }
    top = {path.name for path in filled.paths.root.iterdir()}
    assert top == {"eval_results", "metrics.json", "METRICS.md", ".sae_cache"}
    assert summary.rows == len(read_table(filled.paths.merged / "results.parquet"))


def test_the_same_results_give_the_same_bytes(filled: Any) -> None:
    process_results(filled.paths, BOTH)
    first = _digests(filled.paths.root)
    process_results(filled.paths, BOTH)
    assert _digests(filled.paths.root) == first


def test_a_removed_sae_leaves_no_trace(filled: Any) -> None:
    process_results(filled.paths, BOTH)
    for eval_name, cells in filled.cells.items():
        filled.cells[eval_name] = [cell for cell in cells if cell["sae"] != "ihtp_k5"]
        filled._write_status(eval_name, enabled=True)
    process_results(filled.paths, BOTH)
    for path in [*filled.paths.merged.iterdir(), filled.paths.metrics, filled.paths.report]:
        assert b"ihtp" not in path.read_bytes(), path.name


def test_metrics_json_has_as_many_columns_for_one_sae_as_for_many(
    workspace: Any, core_result: Callable[..., Result], card: Callable[..., Any]
) -> None:
    def columns() -> set[str]:
        process_results(workspace.paths, {"core": True})
        return _leaves(json.loads(workspace.paths.metrics.read_text()))

    workspace.add(core_result(card("a")))
    one = columns()
    for index in range(5):
        workspace.add(core_result(card(f"b{index}"), l0=10.0 + index))
    assert columns() == one
    assert one >= {"saes", "best.ce_loss_score", "mean.explained_variance", "by_architecture.topk.l0"}


def _leaves(value: Any, prefix: str = "") -> set[str]:
    if not isinstance(value, dict):
        return {prefix}
    return {leaf for key, item in value.items() for leaf in _leaves(item, f"{prefix}.{key}".lstrip("."))}


def test_best_follows_the_direction_and_leaves_out_who_interpolates(
    workspace: Any, core_result: Callable[..., Result], card: Callable[..., Any]
) -> None:
    workspace.add(core_result(card("a"), ce_loss_score=0.8, explained_variance=0.6))
    workspace.add(core_result(card("b"), ce_loss_score=0.9, explained_variance=0.5))
    workspace.add(core_result(card("c"), ce_loss_score=1.0, explained_variance=1.0, interpolates=0.9))
    process_results(workspace.paths, {"core": True})
    metrics = json.loads(workspace.paths.metrics.read_text())
    assert metrics["best"]["ce_loss_score"] == 0.9
    assert metrics["best"]["explained_variance"] == 0.6
    assert metrics["mean"]["ce_loss_score"] == 0.9
    assert metrics["cells"] == {"done": 3, "failed": 0}


def test_plot_records_hold_numbers_by_column(filled: Any) -> None:
    process_results(filled.paths, BOTH)
    records = {r["sae"]: r for r in json.loads((filled.paths.merged / "plots.json").read_text())}
    assert set(records) == {"topk_k8", "ihtp_k5", "gated"}
    assert records["topk_k8"]["l0"] == 8.0
    assert records["topk_k8"]["sae_top_5_test_accuracy"] == 0.85
    assert records["gated"]["l0"] is None
    assert all(isinstance(v, (int, float, str, type(None))) for r in records.values() for v in r.values())
    assert len({frozenset(record) for record in records.values()}) == 1, "DVC draws nothing of records that differ"


def test_the_merged_json_holds_cards_settings_and_failures(filled: Any) -> None:
    process_results(filled.paths, BOTH)
    document = json.loads((filled.paths.merged / "results.json").read_text())
    by_name = {sae["name"]: sae for sae in document["saes"]}
    assert by_name["gated"]["evals"]["core"] == {"state": "failed", "reason": "checkpoint | has NaN weights"}
    assert by_name["ihtp_k5"]["card"]["source"]["baseline"] == "relu"
    assert by_name["topk_k8"]["evals"]["core"]["settings"]["batch_size"] == 16
    assert document["metrics"]["core"]["ce_loss_score"]["direction"] == "higher"


def test_nothing_measured_is_a_report_too(workspace: Any) -> None:
    summary = process_results(workspace.paths, {"core": False})
    assert (summary.saes, summary.rows) == (0, 0)
    assert "0 SAEs, evals: none" in workspace.paths.report.read_text()


def test_a_published_file_without_numbers_is_listed_without_an_l0(filled: Any) -> None:
    about = {"eval_type_id": "scr", "sae_lens_id": "x", "sae_lens_release_id": "r"}
    filled.publish("empty.json", {**about, "eval_result_metrics": {"scr_metrics": {"scr_metric_threshold_2": None}}})
    process_results(filled.paths, BOTH)
    document = json.loads((filled.paths.merged / "results.json").read_text())
    (sae,) = [sae for sae in document["saes"] if sae["source"] == "published"]
    assert (sae["name"], sae["l0"], sae["evals"]["scr"]["measurements"]) == ("r/x", None, [])
