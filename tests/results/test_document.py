from __future__ import annotations

import dataclasses
import importlib
import json
import math
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sae_research.errors import UserError
from sae_research.measurements import EvalOutput, Measurement, MetricSpec, Result, Table
from sae_research.results.document import (
    BLOCK,
    document_text,
    from_document,
    metric_specs,
    read_result,
    to_document,
    write_result,
)
from sae_research.results.sae_bench_files import sae_bench_document
from sae_research.results.table_files import read_table_file, table_bytes

ROOT = Path(__file__).parents[2]
Make = Callable[..., Result]


def _as_sae_bench_reads_it(document: dict[str, Any], eval_name: str, class_name: str) -> Any:
    """The document through SAEBench's own class and its JSON Schema."""
    pytest.importorskip("sae_bench")
    import jsonschema
    from pydantic import TypeAdapter

    with warnings.catch_warnings():
        # SAEBench 0.6.0 declares its validators in a way that pydantic 2.12 deprecates.
        warnings.simplefilter("ignore", DeprecationWarning)
        module = importlib.import_module(f"sae_bench.evals.{eval_name}.eval_output")
    schema = Path(str(module.__file__)).with_name(f"eval_output_schema_{document['eval_type_id']}.json")
    jsonschema.validate(document, json.loads(schema.read_text(encoding="utf-8")))
    return TypeAdapter(getattr(module, class_name)).validate_python(document)


def _with(result: Result, measurements: Sequence[Measurement] | None = None, **output: Any) -> Result:
    measured = result.output.measurements if measurements is None else tuple(measurements)
    return dataclasses.replace(result, output=EvalOutput(measured, **output))


DETAIL = {
    "index": 0,
    "feature_density": 0.25,
    "consistent_activation_heuristic": None,
    "encoder_bias": -1.0,
    "encoder_norm": 1.5,
    "encoder_decoder_cosine_sim": 0.5,
    "max_decoder_cosine_sim": 0.25,
    "max_encoder_cosine_sim": 0.125,
}


def _with_latents(result: Result) -> Result:
    """Two latents; the second fires."""
    columns = {name: np.array([math.nan if value is None else value] * 2) for name, value in DETAIL.items()}
    columns["consistent_activation_heuristic"] = np.array([math.nan, 1 / 3])
    columns["encoder_norm"] = np.array([1.5, 0.1], dtype=np.float32)
    del columns["index"]
    return _with(result, tables={"latents": Table(columns)})


def test_core_is_what_sae_bench_reads(core_result: Make) -> None:
    document = sae_bench_document(_with_latents(core_result()))
    read = _as_sae_bench_reads_it(document, "core", "CoreEvalOutput")
    assert read.eval_result_metrics.sparsity.l0 == 8.0
    assert read.eval_result_metrics.model_performance_preservation.ce_loss_score == 0.91
    assert read.eval_result_metrics.token_stats.total_tokens_eval_reconstruction == 20480
    assert read.eval_result_details[0].encoder_bias == -1.0
    assert read.eval_config.model_name == "embedded/lm"
    assert read.eval_config.llm_dtype == "float32"
    assert read.eval_config.batch_size_prompts == 16
    assert read.eval_config.n_eval_reconstruction_batches == 10
    assert read.eval_config.n_eval_sparsity_variance_batches == 50
    assert read.eval_config.exclude_special_tokens_from_reconstruction is True
    assert read.sae_cfg_dict["architecture"] == "topk"
    assert read.sae_cfg_dict["k"] == 8


def test_sparse_probing_is_what_sae_bench_reads(probing_result: Make) -> None:
    document = to_document(probing_result())
    read = _as_sae_bench_reads_it(document, "sparse_probing", "SparseProbingEvalOutput")
    assert read.eval_result_metrics.sae.sae_top_5_test_accuracy == pytest.approx(0.85)
    assert read.eval_result_metrics.sae.sae_top_2_test_accuracy is None
    assert read.eval_result_metrics.llm.llm_test_accuracy == 0.96
    assert read.eval_config.k_values == [1, 5]
    assert read.eval_config.dataset_names == ["embedded/bios"]
    assert read.eval_config.random_seed == 42


def test_parts_of_a_metric_do_not_replace_the_metric(probing_result: Make) -> None:
    """Accuracy on one data set has the same name and k as the mean over data sets."""
    document = to_document(probing_result(ks=(1,)))
    assert document["eval_result_metrics"]["sae"] == {"sae_top_1_test_accuracy": 0.73}


def test_missing_core_numbers_are_minus_one_for_sae_bench_and_null_with_a_reason_for_us(core_result: Make) -> None:
    document = to_document(core_result(ce_loss_score=None))
    _as_sae_bench_reads_it(document, "core", "CoreEvalOutput")
    metrics = document["eval_result_metrics"]
    assert metrics["model_performance_preservation"]["ce_loss_score"] == -1.0
    assert metrics["shrinkage"]["l2_ratio"] == -1.0, "not measured at all"
    (entry,) = [m for m in document[BLOCK]["measurements"] if m["metric"] == "ce_loss_score"]
    assert (entry["value"], entry["reason"]) == (None, "no batch had it")


def test_missing_numbers_that_sae_bench_lets_be_null_are_null(probing_result: Make) -> None:
    result = probing_result()
    missing = [*result.output.measurements, Measurement("sae_test_accuracy", None, "not asked for")]
    document = to_document(_with(result, missing))
    assert document["eval_result_metrics"]["sae"]["sae_test_accuracy"] is None
    _as_sae_bench_reads_it(document, "sparse_probing", "SparseProbingEvalOutput")


def test_nulls_in_the_details_come_back_and_a_true_minus_one_stays(core_result: Make) -> None:
    rows = [DETAIL, {**DETAIL, "index": 1, "consistent_activation_heuristic": 2.0}]
    document = to_document(_with(core_result(), details=rows))
    assert document["eval_result_details"][0]["consistent_activation_heuristic"] == -1.0
    assert list(from_document(document).output.details) == rows


def test_our_own_document_has_no_record_per_latent_and_is_valid_too(core_result: Make, tmp_path: Path) -> None:
    result = _with_latents(core_result())
    document = to_document(result)
    assert _as_sae_bench_reads_it(document, "core", "CoreEvalOutput").eval_result_details == []
    first, second = sae_bench_document(result)["eval_result_details"]
    assert first == {**DETAIL, "consistent_activation_heuristic": -1.0}, "SAEBench's sign for a missing number"
    assert second["index"] == 1
    assert second["consistent_activation_heuristic"] == 0.3333333333, "rounded to ten decimals"
    assert second["encoder_norm"] == round(float(np.float32(0.1)), 10)
    path = tmp_path / "core" / "topk_k8_eval_results.json"
    write_result(path, result, scratch=tmp_path)
    assert read_result(path) == dataclasses.replace(read_result(path), output=read_result(path).output)
    assert read_result(path).output.tables == result.output.tables
    assert sae_bench_document(read_result(path)) == sae_bench_document(result)


@pytest.mark.parametrize("damage", ["gone", "cut", "altered"])
def test_a_table_that_is_not_as_it_was_written_is_named(core_result: Make, tmp_path: Path, damage: str) -> None:
    path, table = tmp_path / "a_eval_results.json", tmp_path / "a.latents.parquet"
    write_result(path, _with_latents(core_result()), scratch=tmp_path)
    written = table.read_bytes()
    match damage:
        case "gone":
            table.unlink()
        case "cut":
            table.write_bytes(written[:-5])
        case _:
            table.write_bytes(table_bytes(Table({"encoder_norm": np.ones(2)})))
    with pytest.raises(UserError, match=r"a\.latents\.parquet .*run its stage again"):
        read_result(path)


def test_a_table_has_missing_numbers_lists_and_texts_and_always_the_same_bytes(tmp_path: Path) -> None:
    table = Table(
        {
            "density": np.array([0.5, math.nan]),
            "tokens": np.arange(6, dtype=np.int32).reshape(2, 3),
            "text": np.array(["</script>", "a\x00"], dtype=object),
        }
    )
    (tmp_path / "a.parquet").write_bytes(table_bytes(table))
    back = read_table_file(tmp_path / "a.parquet")
    assert back == table
    assert back["tokens"].dtype == np.int32
    assert table_bytes(back) == table_bytes(table)
    frame = pd.read_parquet(tmp_path / "a.parquet")
    assert frame.density.isna().tolist() == [False, True]
    assert [row.tolist() for row in frame.tokens] == [[0, 1, 2], [3, 4, 5]]
    assert table != Table({**table.columns, "density": np.array([0.5, 1.0])})
    with pytest.raises(ValueError, match="one length"):
        Table({"a": np.zeros(1), "b": np.zeros(2)})


def test_a_result_survives_the_disk(core_result: Make, tmp_path: Path) -> None:
    result = _with(core_result(ce_loss_score=None), details=[DETAIL], unstructured={"note": [1, None, "x"]})
    path = tmp_path / "out" / "a.json"
    write_result(path, result, scratch=tmp_path / "scratch")
    back = read_result(path)
    assert dataclasses.asdict(back.output)["measurements"] == dataclasses.asdict(result.output)["measurements"]
    assert list(back.output.details) == list(result.output.details)
    assert dataclasses.replace(back, output=result.output) == result
    assert list((tmp_path / "out").iterdir()) == [path], "nothing but the result lies in the results folder"


def test_writing_what_was_read_gives_the_same_bytes(core_result: Make) -> None:
    document = to_document(_with(core_result(ce_loss_score=1 / 3, l0=math.pi * 1e6), details=[DETAIL]))
    again = to_document(from_document(json.loads(document_text(document))), metric_specs(document))
    assert document_text(again) == document_text(document)


def test_the_id_follows_from_the_key_alone(core_result: Make) -> None:
    result = core_result()
    first = to_document(result)
    same_key = to_document(core_result(l0=9.0))
    other_key = to_document(dataclasses.replace(result, key="other"))
    assert first["eval_id"] == same_key["eval_id"] != other_key["eval_id"]
    assert first["datetime_epoch_millis"] == 0


def test_metrics_outside_the_schema_stay_out_of_sae_benchs_part(core_result: Make) -> None:
    document = to_document(core_result())
    assert "interpolates" not in document["eval_result_metrics"]["sparsity"]
    assert {m["metric"] for m in document[BLOCK]["measurements"]} >= {"interpolates", "explained_variance"}


def test_an_sae_of_the_registry_keeps_its_ids(core_result: Make, card: Callable[..., Any]) -> None:
    source = {"release": "gemma-scope", "sae_id": "layer_3"}
    registered = to_document(core_result(card(source=source)))
    unregistered = to_document(core_result())
    assert (registered["sae_lens_release_id"], registered["sae_lens_id"]) == ("gemma-scope", "layer_3")
    assert (unregistered["sae_lens_release_id"], unregistered["sae_lens_id"]) == ("topk_k8", "custom_sae")


def test_nan_never_reaches_a_file(core_result: Make) -> None:
    with pytest.raises(ValueError, match=r"is nan; a missing number is None with a reason"):
        to_document(core_result(l0=math.nan))


def test_a_missing_value_without_a_reason_is_refused(core_result: Make) -> None:
    with pytest.raises(ValueError, match="l0: a missing value needs a reason"):
        to_document(_with(core_result(), [Measurement("l0", None)]))


def test_a_metric_without_a_description_is_refused(core_result: Make) -> None:
    with pytest.raises(ValueError, match="core measured nonsense without a MetricSpec"):
        to_document(_with(core_result(), [Measurement("nonsense", 1.0)]))


def test_an_eval_that_sae_bench_does_not_have_is_written_under_its_own_name() -> None:
    spec = MetricSpec("sensitivity", "sensitivity", "", "higher", "Sensitivity", "sensitivity", headline=True)
    result = Result("k", "sensitivity", {"name": "a"}, {}, {}, EvalOutput((Measurement("sensitivity", 0.5),)))
    document = to_document(result, (spec,))
    assert document["eval_type_id"] == "sensitivity"
    assert document["eval_result_metrics"] == {"sensitivity": {"sensitivity": 0.5}}
    assert metric_specs(document) == (spec,)


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "not valid JSON"), ("[1]", "holds a JSON list"), ("{}", "was not written by sae_research"),
     ('{"sae_research": {}}', "another version of sae_research")],
)  # fmt: skip
def test_files_that_are_no_results_are_named(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=message) as caught:
        read_result(path)
    assert "broken.json" in str(caught.value)


def test_results_and_plots_are_imported_without_torch() -> None:
    stages = "import sae_research.pipeline.stages.process_results, sae_research.pipeline.stages.visualize"
    plots = "import sae_research.plots.axes, sae_research.plots.heatmap, sae_research.plots.legend"
    heavy = {"torch", "sae_bench", "sae_lens", "transformers", "dvc", "pandas"}
    code = f"{stages}; {plots}; import sys; print(sorted({heavy!r} & set(sys.modules)))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert printed.strip() == "[]"
