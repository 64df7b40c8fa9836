"""Published files with hostile, altered or foreign content: one message that names file and field, no output."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from sae_research.errors import UserError
from sae_research.measurements import Result
from sae_research.pipeline.stages.process_results import process_results
from sae_research.pipeline.stages.visualize import visualize
from sae_research.plots.settings import VisualizationSettings
from sae_research.results.document import sealed, to_document

Change = tuple[str, Any]
"""A dotted place in the document, and the value that goes there; `...` removes what is there."""

SCR: Mapping[str, Any] = {
    "eval_type_id": "scr",
    "eval_config": {"random_seed": 42},
    "eval_result_metrics": {"scr_metrics": {"scr_metric_threshold_20": 0.25}},
    "eval_result_details": [{"dataset_name": "LabHC/bias_in_bios_class_set1_results"}],
    "sae_lens_release_id": "sae_bench_pythia70m_sweep_topk",
    "sae_lens_id": "blocks.4.hook_resid_post__trainer_8",
    "sae_cfg_dict": {"architecture": "topk", "d_in": 512, "d_sae": 4096, "hook_name": "blocks.4.hook_resid_post"},
}
DEEP = json.loads("[" * 100 + "]" * 100)


def changed(document: Mapping[str, Any], *changes: Change) -> dict[str, Any]:
    copy = json.loads(json.dumps(document))
    for place, value in changes:
        *parents, last = place.split("/")
        node = copy
        for key in parents:
            node = node[int(key) if isinstance(node, list) else key]
        if value is ...:
            del node[last]
        else:
            node[int(last) if isinstance(node, list) else last] = value
    return copy


def refused(workspace: Any, document: Mapping[str, Any] | str, message: str) -> None:
    """process_results ends with one short line like `message` that names the file, and writes nothing."""
    workspace.publish("odd.json", document)
    with pytest.raises(UserError, match=message) as caught:
        process_results(workspace.paths, {})
    said = str(caught.value)
    assert said.isprintable(), "control characters"
    assert "odd.json" in said
    assert len(said) < 600 + len(str(workspace.paths.root))
    assert not workspace.paths.report.exists()


def test_what_the_other_tests_change_is_sound(filled: Any, core_result: Callable[..., Result]) -> None:
    filled.publish("scr.json", SCR)
    filled.publish("ours.json", to_document(core_result()))
    process_results(filled.paths, {"core": True})
    report = filled.paths.report.read_text()
    assert "sae_bench_pythia70m_sweep_topk/blocks.4.hook_resid_post__trainer_8" in report


NAMES = [
    "</script><script>alert('XSS')</script>", '"><img src=x onerror=alert(1)>', "[a](javascript:alert(1))", "`rm`",
    "a\x1b[31mb", "a\u202eb", "a\u200bb", "a\x00b", "a\nb", "a\ud800b", "x" * 201, "=cmd|' /C calc'!A0", "@SUM(1)",
    "+1", "-1", r"$\frac{$", r"a\b", " ", ["a"], {"a": 1}, 5, True,
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=lambda name: repr(name)[:20])
@pytest.mark.parametrize(
    "place",
    ["sae_lens_release_id", "sae_lens_id", "sae_cfg_dict/architecture", "sae_cfg_dict/hook_name",
     "sae_cfg_dict/model_name", "eval_result_details/0/dataset_name"],
)  # fmt: skip
def test_no_hostile_name_reaches_a_report(workspace: Any, place: str, name: Any) -> None:
    field = "surrogate" if "\ud800" in str(name) else place.rpartition("/")[2]
    refused(workspace, changed(SCR, (place, name)), field)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([("eval_result_metrics/scr", {"scr_metric_threshold_20": 1.0})], "eval_result_metrics has 'scr', which"),
        ([("eval_result_metrics", {})], "lacks every number"),
        ([("eval_result_metrics/scr_metrics", {})], "lacks every number"),
        ([("eval_result_metrics", {"shift_metrics": {}})], "has 'shift_metrics'.*it has: scr_metrics; rename or"),
        ([("eval_result_metrics/scr_metrics/scr_metric_threshold_٢", 0.5)], "has 'scr_metric_threshold_٢'"),
        ([("eval_result_metrics/scr_metrics/scr_metric_threshold_" + "9" * 5000, 0.5)], "has 'scr_metric_threshold_9"),
        ([("eval_result_metrics/scr_metrics/scr_metric_threshold_20", "0.5")], "threshold_20 is '0.5', expected a num"),
        ([("eval_result_metrics/scr_metrics/scr_metric_threshold_20", 10**400)], "threshold_20 is 1000.*expected"),
        ([("eval_result_metrics/scr_metrics/scr_metric_threshold_20", [])], r"threshold_20 is \[\], expected a number"),
        ([("eval_result_details", 5)], "eval_result_details is 5, expected a list of objects"),
        ([("eval_result_details", [5])], r"eval_result_details is \[5\], expected a list of objects"),
        ([("sae_cfg_dict", "x")], "sae_cfg_dict is 'x', expected an object"),
        ([("sae_cfg_dict", [1])], r"sae_cfg_dict is \[1\], expected an object"),
        ([("sae_cfg_dict/metadata", "x")], "metadata is 'x', expected an object"),
        ([("sae_cfg_dict/d_in", "512")], "d_in is '512', expected a whole number"),
        ([("sae_cfg_dict/d_sae", 128.5)], "d_sae is 128.5, expected a whole number"),
        ([("sae_cfg_dict/d_sae", 10**30)], "d_sae is 1000.*, expected a whole number"),
        ([("sae_cfg_dict/d_sae", -1)], "d_sae is -1, expected a whole number"),
        ([("eval_config", [])], r"eval_config is \[\], expected an object"),
        ([("eval_config/x", float("nan"))], "eval_config.*x is nan"),
        ([("eval_config/x", DEEP)], "nested more than 50 deep"),
        ([("eval_type_id", [])], r"eval_type_id \[\], expected one of"),
        ([("eval_type_id", "sparse_probing"), ("eval_result_metrics", {"llm": {"llm_test_accuracy": 95.0}})],
         "llm_test_accuracy is 95.0, expected 0 to 1; is it in percent"),
        ([("eval_type_id", "sparse_probing"), ("eval_result_metrics", {"sae": {"sae_top_1_test_accuracy": 0.9}})],
         "lacks llm_test_accuracy, which SAEBench 0.6.0 has for sparse_probing"),
        ([("eval_type_id", "absorption_first_letter"), ("eval_result_metrics", {"mean": {"mean_absorption_score": 1}})],
         "metrics.mean has 'mean_absorption_score', which SAEBench 0.6.0 does not have; it has: mean_absorption_frac"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_named(workspace: Any, changes: list[Change], message: str) -> None:
    refused(workspace, changed(SCR, *changes), message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 10**5, "nested too deeply"),
        ('{"eval_type_id": "scr", "x": ' + "[" * 400 + "]" * 400 + "}", "nested more than 50 deep"),
        ('{"eval_type_id": ' + "9" * 5000 + "}", "not valid JSON"),
        ("<html>", "not valid JSON"),
    ],
    ids=["brackets", "deep", "digits", "html"],
)  # fmt: skip
def test_a_text_that_is_no_document_is_one_line(workspace: Any, text: str, message: str) -> None:
    refused(workspace, text, message)


def test_a_file_whose_name_is_hostile_is_refused(workspace: Any) -> None:
    workspace.publish("<img src=x>\x1b[31m.json", SCR)
    with pytest.raises(UserError, match=r"a file name in .* is '<img src=x>\\x1b\[31m.json', expected letters"):
        process_results(workspace.paths, {})


# Our own documents


def test_a_document_of_ours_with_a_changed_number_is_refused(
    workspace: Any, core_result: Callable[..., Result]
) -> None:
    ours = to_document(core_result())
    refused(workspace, changed(ours, ("sae_research/measurements/0/value", 9.0)), "digest differs")


OURS: list[tuple[str, Any, str]] = [
    ("metrics", None, "metrics is None, expected an object"),
    ("metrics", "x", "metrics is 'x', expected an object"),
    ("metrics/l0", 5, "metric 'l0' is 5, expected an object"),
    ("metrics/l0/headline", "yes", "headline: got 'yes'"),
    ("metrics/l0/direction", "up", "direction: got 'up'"),
    ("metrics/l0/key", "{x.__class__}", "key is '{x.__class__}', expected letters"),
    ("metrics/l0/key", "{x:>99999999999}", "key is '{x:>99999999999}', expected letters"),
    ("metrics/l0/title", "<script>", "title is '<script>', expected"),
    ("metrics/..%2Fevil", {}, "metric '..%2Fevil'"),
    ("sae", None, "sae is None, expected an object"),
    ("sae", "x", "sae is 'x', expected an object"),
    ("sae/name", "=cmd|' /C calc'!A0", "sae.name is"),
    ("sae/label", r"$\frac{$", "sae.label is"),
    ("sae/d_sae", 0.5, "sae.d_sae is 0.5, expected a whole number"),
    ("sae/source", {"repo_id": "<script>"}, "source.repo_id is '<script>', expected"),
    ("sae/hyperparameters", {"<img>": 1}, "hyperparameters is '<img>', expected"),
    ("sae/hyperparameters", 5, "hyperparameters is 5, expected an object"),
    ("eval", "../../evil", "eval is '../../evil', expected letters"),
    ("measurements", None, "measurements is None, expected a list"),
    ("measurements/0/at", "text", "measurement 0.at: got 'text'"),
    ("measurements/0/at", {"k": "<img>"}, "measurement 0.at.k is '<img>', expected"),
    ("measurements/0/value", "NaN", "measurement 0.value: got 'NaN'"),
    ("measurements/0/value", None, "measurement 0: a missing value needs a reason"),
    ("measurements/0/metric", "new", "measurement 0 is of 'new', which the file does not describe"),
    ("measurements/0/replicates", ["a"], r"measurement 0.replicates\[0\]: got 'a'"),
    ("settings", [], r"settings is \[\], expected an object"),
    ("versions", 5, "versions is 5, expected an object"),
    ("key", ["x"], "key is"),
]


@pytest.mark.parametrize(("place", "value", "message"), OURS, ids=lambda value: str(value)[:30])
def test_a_document_of_ours_with_a_right_digest_but_hostile_content_is_refused(
    workspace: Any, core_result: Callable[..., Result], place: str, value: Any, message: str
) -> None:
    refused(workspace, sealed(changed(to_document(core_result()), (f"sae_research/{place}", value))), message)


def test_published_numbers_are_drawn(filled: Any) -> None:
    filled.publish("scr.json", SCR)
    process_results(filled.paths, {"core": True, "sparse_probing": True})
    visualize(filled.paths, VisualizationSettings())
    assert (filled.paths.images / "scr_scr_metric.png").exists()
