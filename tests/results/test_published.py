"""SAEBench's own files, made by SAEBench's own classes, as they would lie in `published_results/`."""

from __future__ import annotations

import importlib
import json
import math
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from sae_research.errors import UserError
from sae_research.evals.registry import find_eval
from sae_research.measurements import Measurement, Result
from sae_research.results.document import to_document
from sae_research.results.published import read_published, read_published_file
from sae_research.results.sae_bench_schema import sae_bench_evals

FOLDERS = {"scr": "scr_and_tpp", "tpp": "scr_and_tpp"}


def _sae_bench_module(eval_name: str) -> Any:
    pytest.importorskip("sae_bench")
    with warnings.catch_warnings():
        # SAEBench 0.6.0 declares its validators in a way that pydantic 2.12 deprecates.
        warnings.simplefilter("ignore", DeprecationWarning)
        return importlib.import_module(f"sae_bench.evals.{FOLDERS.get(eval_name, eval_name)}.eval_output")


def _output_class(eval_name: str) -> Any:
    """The class of `eval_name`'s results: the one whose type id is the eval's."""
    type_id = sae_bench_evals()[eval_name].schema.type_id
    for value in vars(_sae_bench_module(eval_name)).values():
        fields = getattr(value, "__pydantic_fields__", {})
        if "eval_type_id" in fields and fields["eval_type_id"].default == type_id:
            return value
    raise AssertionError(f"SAEBench has no result class for {type_id}")


def _sae_bench_document(eval_name: str, *, number: float = 0.5, details: Any = (), **top: Any) -> dict[str, Any]:
    """A result as SAEBench writes it: validated by its class, then dumped by its own `asdict` and `json.dump`."""
    from pydantic import TypeAdapter

    sae_bench = sae_bench_evals()[eval_name]
    metrics: dict[str, dict[str, float]] = {}
    for spec in sae_bench.specs:
        key = str(spec.key).format(k=5, n=20)
        metrics.setdefault(spec.category, {})[key] = 7 if key in sae_bench.schema.whole else number
    raw = {
        "eval_config": {"model_name": "pythia-70m-deduped"},
        "eval_id": "0b3b",
        "datetime_epoch_millis": 1_700_000_000_000,
        "eval_result_metrics": metrics,
        "eval_result_details": list(details),
        "sae_bench_commit_hash": "8042bb3",
        "sae_lens_id": "blocks.4.hook_resid_post__trainer_8",
        "sae_lens_release_id": "sae_bench_pythia70m_sweep_topk",
        "sae_lens_version": "5.4.1",
        "sae_cfg_dict": {"architecture": "topk", "d_in": 512, "d_sae": 4096, "hook_name": "blocks.4.hook_resid_post"},
        **top,
    }
    return json.loads(json.dumps(asdict(TypeAdapter(_output_class(eval_name)).validate_python(raw)), default=str))


def _write(folder: Path, document: Any, name: str = "scr/r.json") -> Path:
    # The folder says scr whatever the file holds: SAEBench's graphs would take every file in it for one of SCR.
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    return path


@pytest.mark.parametrize("eval_name", list(sae_bench_evals()))
def test_every_eval_of_sae_bench_is_read_by_its_type_id(eval_name: str, tmp_path: Path) -> None:
    path = _write(tmp_path, _sae_bench_document(eval_name))
    _, result, specs = read_published_file(path)
    assert result.eval_name == eval_name
    assert {m.metric for m in result.output.measurements} == {spec.name for spec in specs}
    assert {m.value for m in result.output.measurements} <= {0.5, 7.0}
    assert result.sae["name"] == "sae_bench_pythia70m_sweep_topk/blocks.4.hook_resid_post__trainer_8"
    assert (result.sae["architecture"], result.sae["d_in"], result.sae["d_sae"]) == ("topk", 512, 4096)


def _measured(path: Path) -> dict[tuple[str, str], Measurement]:
    measurements = read_published_file(path).result.output.measurements
    return {(m.metric, json.dumps(m.at, sort_keys=True)): m for m in measurements}


def test_places_are_read_from_the_keys(tmp_path: Path) -> None:
    measured = _measured(_write(tmp_path, _sae_bench_document("tpp")))
    assert measured["tpp_total_metric", '{"n": 20}'].value == 0.5


def test_the_parts_of_a_metric_are_read_from_the_details(tmp_path: Path) -> None:
    row = {"dataset_name": "fancyzhx/ag_news_results", "llm_test_accuracy": 0.9, "sae_top_5_test_accuracy": 0.8}
    measured = _measured(_write(tmp_path, _sae_bench_document("sparse_probing", details=[row])))
    assert measured["sae_top_k_test_accuracy", '{"dataset": "fancyzhx/ag_news", "k": 5}'].value == 0.8
    assert measured["sae_top_k_test_accuracy", '{"k": 5}'].value == 0.5


def test_numbers_that_sae_bench_computes_otherwise_get_names_of_their_own(tmp_path: Path) -> None:
    names = {metric for metric, _ in _measured(_write(tmp_path, _sae_bench_document("core")))}
    assert {"mse_sae_bench", "explained_variance_sae_bench"} <= names
    assert not {"mse", "explained_variance"} & names


def test_minus_one_is_a_missing_number_in_core_and_a_number_in_scr(tmp_path: Path) -> None:
    core = _measured(_write(tmp_path, _sae_bench_document("core", number=-1.0), "a.json"))["l0", "{}"]
    scr = _measured(_write(tmp_path, _sae_bench_document("scr", number=-1.0), "b.json"))["scr_metric", '{"n": 20}']
    assert core.value is None
    assert "-1 in SAEBench's file" in str(core.reason)
    assert scr.value == -1.0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_nan_and_infinity_are_missing_numbers(bad: float, tmp_path: Path) -> None:
    measured = _measured(_write(tmp_path, _sae_bench_document("autointerp", number=bad)))
    missing = measured["autointerp_score", "{}"]
    assert missing.value is None
    assert "in SAEBench's file" in str(missing.reason)


def test_saelens_6_keeps_the_hook_in_the_metadata_and_calls_relu_standard(tmp_path: Path) -> None:
    config = {"architecture": "standard", "d_in": 8, "d_sae": 16, "metadata": {"hook_name": "blocks.2.hook_mlp_out"}}
    sae = read_published_file(_write(tmp_path, _sae_bench_document("core", sae_cfg_dict=config))).result.sae
    assert (sae["architecture"], sae["hook_name"]) == ("relu", "blocks.2.hook_mlp_out")


def test_a_custom_sae_is_named_by_its_release(tmp_path: Path) -> None:
    document = _sae_bench_document("core", sae_lens_id="custom_sae", sae_lens_release_id="my_sae")
    assert read_published_file(_write(tmp_path, document)).result.sae["name"] == "my_sae"


def test_our_own_files_can_be_published_too(core_result: Callable[..., Result], tmp_path: Path) -> None:
    result = core_result()
    _, back, specs = read_published_file(_write(tmp_path, to_document(result)))
    assert back.output.measurements == result.output.measurements
    assert {spec.name for spec in specs} == {spec.name for spec in find_eval("core").specs}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"eval_type_id": "core", "eval_res', "not valid JSON"),
        ("[]", "holds a JSON list"),
        ("{}", "no eval_type_id"),
        ('{"eval_type_id": "mdl"}', "eval_type_id 'mdl', expected one of absorption_first_letter, autointerp, core"),
        ('{"eval_type_id": "core"}', "does not say which SAE"),
        ('{"eval_type_id": "core", "sae_lens_id": "a"}', "no eval_result_metrics"),
        ('{"eval_type_id": "core", "sae_lens_id": "a", "eval_result_metrics": {"l0": 3}}', "no eval_result_metrics"),
        ('{"eval_type_id": "core", "sae_lens_id": "a", "eval_result_metrics": {"sparsity": {"l0": "3"}}}',
         "l0 is '3', expected a number"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_understood_is_named(content: str, message: str, tmp_path: Path) -> None:
    _write(tmp_path, content, "odd.json")
    with pytest.raises(UserError, match=message) as caught:
        read_published(tmp_path)
    assert "odd.json" in str(caught.value)


def test_two_files_on_one_cell_are_an_error_that_names_both(tmp_path: Path) -> None:
    _write(tmp_path, _sae_bench_document("core"), "a.json")
    _write(tmp_path, _sae_bench_document("core", number=0.6), "b.json")
    with pytest.raises(UserError, match=r"b\.json and .*a\.json both report 'core'"):
        read_published(tmp_path)


def test_a_missing_folder_holds_nothing(tmp_path: Path) -> None:
    assert read_published(tmp_path / "none") == []
