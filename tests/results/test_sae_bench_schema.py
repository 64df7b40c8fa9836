"""What our evals declare of SAEBench against SAEBench's own classes and JSON Schemas."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sae_research.evals.registry import find_eval
from sae_research.measurements import MetricSpec, Result
from sae_research.results.document import to_document
from sae_research.results.sae_bench_schema import SaeBenchEval, by_type_id, match_key, sae_bench_evals

FOLDERS = {"scr": "scr_and_tpp", "tpp": "scr_and_tpp"}
CONFIGS = {
    "core": "CoreEvalConfig",
    "sparse_probing": "SparseProbingEvalConfig",
    "absorption": "AbsorptionEvalConfig",
    "scr": "ScrAndTppEvalConfig",
    "tpp": "ScrAndTppEvalConfig",
    "autointerp": "AutoInterpEvalConfig",
}
each_eval = pytest.mark.parametrize("sae_bench", sae_bench_evals().values(), ids=list(sae_bench_evals()))


def _schema(sae_bench: SaeBenchEval) -> dict[str, Any]:
    spec = importlib.util.find_spec("sae_bench")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("sae-bench is not installed")
    folder = Path(next(iter(spec.submodule_search_locations))) / "evals" / FOLDERS.get(sae_bench.name, sae_bench.name)
    return json.loads((folder / f"eval_output_schema_{sae_bench.schema.type_id}.json").read_text(encoding="utf-8"))


def _categories(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The schema of each category of `eval_result_metrics`."""
    definitions = schema["$defs"]
    top = definitions[schema["properties"]["eval_result_metrics"]["$ref"].split("/")[-1]]
    return {name: definitions[entry["$ref"].split("/")[-1]] for name, entry in top["properties"].items()}


@each_eval
def test_every_metric_of_sae_bench_is_known_once_and_nothing_else(sae_bench: SaeBenchEval) -> None:
    categories = _categories(_schema(sae_bench))
    used: set[str] = set()
    for category, content in categories.items():
        for key in content["properties"]:
            specs = [s for s in sae_bench.specs if s.category == category and match_key(s, key) is not None]
            assert len(specs) == 1, f"{category}.{key}"
            used.add(specs[0].name)
    assert used == {spec.name for spec in sae_bench.specs}


@each_eval
def test_required_and_whole_numbers_are_those_of_the_schema(sae_bench: SaeBenchEval) -> None:
    schema = _schema(sae_bench)
    required, whole = set(), set()
    for content in _categories(schema).values():
        required |= set(content.get("required", ()))
        whole |= {key for key, entry in content["properties"].items() if entry.get("type") == "integer"}
    assert (sae_bench.required, sae_bench.schema.whole) == (required, whole)


@each_eval
def test_required_numbers_of_the_details_are_those_of_the_schema(sae_bench: SaeBenchEval) -> None:
    schema = _schema(sae_bench)
    items = schema["properties"]["eval_result_details"].get("items") or {}
    rows = schema["$defs"].get(items.get("$ref", "").split("/")[-1], {})
    numbers = {key for key, entry in rows.get("properties", {}).items() if entry.get("type") in {"number", "integer"}}
    assert sae_bench.schema.required_details == (numbers & set(rows.get("required", ()))) - {"index"}


def test_type_ids_lead_back_to_their_evals() -> None:
    assert by_type_id()["absorption_first_letter"].name == "absorption"
    assert len(by_type_id()) == len(sae_bench_evals())


def test_a_placeholder_matches_whole_numbers_only() -> None:
    spec = MetricSpec("m", "sae", "", "higher", "M", "sae_top_{k}_test_accuracy")
    assert match_key(spec, "sae_top_20_test_accuracy") == {"k": 20}
    assert match_key(spec, "sae_top_x_test_accuracy") is None
    assert match_key(spec, "sae_top_20_test_accuracy_2") is None


def test_a_published_number_never_stands_under_the_name_of_one_that_is_computed_otherwise() -> None:
    """By hand: the metrics of core that SAEBench computes by a formula of its own."""
    names = {str(spec.key): spec.name for spec in sae_bench_evals()["core"].specs}
    corrected = {"mse", "explained_variance", "relative_reconstruction_bias"}
    assert {key for key, name in names.items() if key != name} == corrected
    assert all(names[key] == f"{key}_sae_bench" for key in corrected)


def test_evals_with_names_or_constants_of_sae_benchs_settings_are_all_tested() -> None:
    evals = sae_bench_evals().values()
    assert {e.name for e in evals if e.schema.config_names or e.schema.config_constants} == set(CONFIGS)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_alias_names_a_setting_of_ours_and_one_of_sae_benchs(name: str) -> None:
    pytest.importorskip("sae_bench")
    with warnings.catch_warnings():
        # SAEBench 0.6.0 declares its validators in a way that pydantic 2.12 deprecates.
        warnings.simplefilter("ignore", DeprecationWarning)
        module = importlib.import_module(f"sae_bench.evals.{FOLDERS.get(name, name)}.eval_config")
    of_sae_bench = set(getattr(module, CONFIGS[name]).__pydantic_fields__)
    schema = sae_bench_evals()[name].schema
    assert set(schema.config_names) <= {field.name for field in dataclasses.fields(find_eval(name).settings)}
    assert set(schema.config_names.values()) | set(schema.config_constants) <= of_sae_bench


def test_settings_stand_under_both_names(core_result: Callable[..., Result]) -> None:
    config = to_document(core_result())["eval_config"]
    assert config["n_reconstruction_batches"] == config["n_eval_reconstruction_batches"] == 10
    assert config["compute_kl"] is True


def test_what_the_key_does_not_say_is_left_out_of_the_settings(core_result: Callable[..., Result]) -> None:
    config = to_document(dataclasses.replace(core_result(), key_parts={}))["eval_config"]
    assert not {"model_name", "llm_dtype", "random_seed"} & set(config)
