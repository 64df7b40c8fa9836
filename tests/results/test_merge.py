from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.workspace import sae_bench_core

from sae_research.errors import UserError
from sae_research.measurements import EvalOutput, Measurement, MetricSpec, Result
from sae_research.results.merge import Entry, read_entries, tidy_rows
from sae_research.results.rows import Row

BOTH = {"core": True, "sparse_probing": True}
PUBLISHED = {
    "eval_type_id": "core",
    "sae_lens_id": "custom_sae",
    "sae_lens_release_id": "topk_k8",
    "sae_cfg_dict": {"architecture": "topk"},
    "eval_result_metrics": sae_bench_core(l0=33.0),
}


def _rows(workspace: Any, enabled: dict[str, bool] = BOTH, saes: Any = ()) -> list[Row]:
    return tidy_rows(read_entries(workspace.paths.results, workspace.paths.published, enabled), saes)


def test_every_measurement_is_a_row_with_its_saes_card(filled: Any) -> None:
    rows = _rows(filled)
    (row,) = [r for r in rows if r.sae == "ihtp_k5" and r.metric == "sae_top_k_test_accuracy" and r.at == '{"k": 5}']
    assert row == Row(
        sae="ihtp_k5", architecture="ihtp", label="ihtp", control=False, source="computed", baseline="relu",
        d_in=128, d_sae=512, hook_name="blocks.0.hook_resid_post", layer=0, eval="sparse_probing",
        metric="sae_top_k_test_accuracy", at='{"k": 5}', value=0.85, reason=None, ci_low=0.84, ci_high=0.86, unit="",
        direction="higher", title="Probe accuracy, k best latents", headline=True, column="sae_top_5_test_accuracy",
        l0=88.0, interpolates=0.97,
    )  # fmt: skip


@pytest.mark.parametrize(("of_core", "of_eval", "expected"), [(0.0, 0.4, 0.4), (0.9, 0.4, 0.9), (None, 0.4, 0.4)])
def test_the_larger_share_of_interpolated_sequences_counts(
    card: Any, of_core: float | None, of_eval: float, expected: float
) -> None:
    def entry(eval_name: str, metric: str, value: float) -> Entry:
        result = Result(eval_name, eval_name, card("s"), {}, {}, EvalOutput((Measurement(metric, value),)))
        return Entry("computed", "s", eval_name, result, (MetricSpec(metric, "c", "", "lower", ""),))

    entries = [entry("unlearning", "interpolates_here", of_eval)]
    entries += [] if of_core is None else [entry("core", "interpolates", of_core)]
    assert {row.eval: row.interpolates for row in tidy_rows(entries)} == {
        "unlearning": expected, **({} if of_core is None else {"core": of_core}),
    }  # fmt: skip


def test_a_label_stands_beside_the_architecture(workspace: Any, core_result: Callable[..., Result], card: Any) -> None:
    workspace.add(core_result(card("random_k8", label="random")))
    assert {(r.architecture, r.label) for r in _rows(workspace, {"core": True})} == {("topk", "random")}


def test_a_control_is_one_by_its_card_never_by_its_name(
    workspace: Any, core_result: Callable[..., Result], card: Any
) -> None:
    workspace.add(core_result(card("random_k8")))
    workspace.add(core_result(card("topk_k8", control=True)))
    assert {r.sae: r.control for r in _rows(workspace, {"core": True})} == {"random_k8": False, "topk_k8": True}


def test_a_failed_cell_is_one_row_with_its_reason(filled: Any) -> None:
    (row,) = [r for r in _rows(filled) if r.sae == "gated" and r.eval == "core"]
    assert (row.metric, row.value, row.reason) == (None, None, "checkpoint | has NaN weights")
    assert row.architecture == "gated", "known from its other cell"
    assert row.l0 is None


def test_an_sae_that_failed_everywhere_is_described_by_the_manifest(workspace: Any, card: Callable[..., Any]) -> None:
    workspace.fail("core", "lost", "no file")
    (row,) = _rows(workspace, {"core": True}, [card("lost", "mpsae")])
    assert (row.architecture, row.d_sae) == ("mpsae", 512)


def test_a_disabled_eval_gives_no_rows_whatever_lies_in_its_folder(filled: Any) -> None:
    rows = _rows(filled, {"core": True, "sparse_probing": False})
    assert {row.eval for row in rows} == {"core"}


def test_files_that_the_status_does_not_name_give_no_rows(filled: Any) -> None:
    folder = filled.paths.results / "core"
    (folder / "old_eval_results.json").write_bytes((folder / "topk_k8_eval_results.json").read_bytes())
    assert {row.sae for row in _rows(filled)} == {"topk_k8", "ihtp_k5", "gated"}


def test_a_missing_number_keeps_its_reason(workspace: Any, core_result: Callable[..., Result]) -> None:
    workspace.add(core_result(ce_loss_score=None))
    (row,) = [r for r in _rows(workspace, {"core": True}) if r.metric == "ce_loss_score"]
    assert (row.value, row.reason) == (None, "no batch had it")


def test_a_part_of_a_metric_has_no_column(filled: Any) -> None:
    columns = {r.at: r.column for r in _rows(filled) if r.metric == "sae_top_k_test_accuracy" and r.sae == "topk_k8"}
    assert columns == {
        '{"k": 1}': "sae_top_1_test_accuracy",
        '{"k": 5}': "sae_top_5_test_accuracy",
        '{"dataset": "embedded/bios", "k": 1}': None,
        '{"dataset": "embedded/bios", "k": 5}': None,
    }


def test_a_published_sae_joins_under_its_own_source_even_with_a_name_of_ours(filled: Any) -> None:
    filled.publish("a.json", PUBLISHED)
    rows = [r for r in _rows(filled) if r.sae == "topk_k8" and r.metric == "l0"]
    assert {r.label for r in rows} == {"topk"}
    assert [(r.source, r.value, r.l0) for r in rows] == [("computed", 8.0, 8.0), ("published", 33.0, 33.0)]


def test_a_published_saes_l0_comes_from_its_core_file(workspace: Any) -> None:
    workspace.publish("core.json", PUBLISHED)
    metrics = {"unlearning": {"unlearning_score": 0.2}}
    workspace.publish("u.json", {**PUBLISHED, "eval_type_id": "unlearning", "eval_result_metrics": metrics})
    alone = {**PUBLISHED, "sae_lens_release_id": "b", "eval_type_id": "unlearning", "eval_result_metrics": metrics}
    workspace.publish("v.json", alone)
    l0_by_sae = {r.sae: r.l0 for r in _rows(workspace, {}) if r.eval == "unlearning"}
    assert l0_by_sae == {"topk_k8": 33.0, "b": None}


DONE = {"sae": "topk_k8", "state": "done", "file": "topk_k8_eval_results.json", "reason": None}


def _change_status(workspace: Any, **changes: Any) -> None:
    path = workspace.paths.results / "core" / "_status.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda ws: (ws.paths.results / "core" / "_status.json").unlink(), "its stage has not run"),
        (lambda ws: (ws.paths.results / "core" / "topk_k8_eval_results.json").unlink(), "does not exist"),
        (lambda ws: (ws.paths.results / "core" / "topk_k8_eval_results.json").write_text("{"), "not valid JSON"),
        (
            lambda ws: (ws.paths.results / "core" / "_status.json").write_text("{}"),
            "not a status file of the eval 'core'",
        ),
        (lambda ws: _change_status(ws, cells=5), "_status.json.cells: got 5"),
        (lambda ws: _change_status(ws, cells=[{"sae": "a"}]), r"cells\[0\]: missing state, file, reason"),
        (
            lambda ws: _change_status(ws, cells=[{**DONE, "file": "../x.json"}]),
            "file is '../x.json', expected a file's",
        ),
        (lambda ws: _change_status(ws, cells=[{**DONE, "file": None}]), "file is None, expected a file's name"),
        (
            lambda ws: _replace(ws.paths.results / "core" / "topk_k8_eval_results.json", "0.83", "0.93"),
            "topk_k8_eval_results.json is not as it was written: its digest differs",
        ),
        (lambda ws: ws.disable("core"), "says disabled but eval_types.core is true"),
    ],
)
def test_results_that_do_not_fit_their_status_are_an_error(filled: Any, break_it: Any, message: str) -> None:
    break_it(filled)
    with pytest.raises(UserError, match=message):
        _rows(filled)


def test_the_order_is_that_of_the_status(filled: Any) -> None:
    order = list(dict.fromkeys((r.eval, r.sae) for r in _rows(filled)))
    assert order == [
        ("core", "topk_k8"), ("core", "ihtp_k5"), ("core", "gated"),
        ("sparse_probing", "topk_k8"), ("sparse_probing", "ihtp_k5"), ("sparse_probing", "gated"),
    ]  # fmt: skip


def test_rows_are_frozen(filled: Any) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        _rows(filled)[0].value = 1.0  # type: ignore[misc]
