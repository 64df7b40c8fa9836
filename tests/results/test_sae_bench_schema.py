"""Our table of SAEBench's schema against SAEBench's own classes and JSON Schemas."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from sae_research.measurements import MetricSpec
from sae_research.results.sae_bench_schema import BY_TYPE_ID, PEER_EVALS, SaeBenchEval, match_key

FOLDERS = {"absorption": "absorption", "scr": "scr_and_tpp", "tpp": "scr_and_tpp"}


def _schema(sae_bench: SaeBenchEval) -> dict[str, Any]:
    spec = importlib.util.find_spec("sae_bench")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("sae-bench is not installed")
    folder = Path(next(iter(spec.submodule_search_locations))) / "evals" / FOLDERS.get(sae_bench.name, sae_bench.name)
    return json.loads((folder / f"eval_output_schema_{sae_bench.type_id}.json").read_text(encoding="utf-8"))


def _categories(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The schema of each category of `eval_result_metrics`."""
    definitions = schema["$defs"]
    top = definitions[schema["properties"]["eval_result_metrics"]["$ref"].split("/")[-1]]
    return {name: definitions[entry["$ref"].split("/")[-1]] for name, entry in top["properties"].items()}


def _matches(sae_bench: SaeBenchEval, category: str, key: str) -> list[MetricSpec]:
    return [spec for spec in sae_bench.specs if spec.category == category and match_key(spec, key) is not None]


@pytest.mark.parametrize("sae_bench", PEER_EVALS.values(), ids=list(PEER_EVALS))
def test_every_metric_of_sae_bench_is_known_once_and_nothing_else(sae_bench: SaeBenchEval) -> None:
    categories = _categories(_schema(sae_bench))
    used: set[str] = set()
    for category, content in categories.items():
        for key in content["properties"]:
            found = _matches(sae_bench, category, key)
            assert len(found) == 1, f"{category}.{key}"
            used.add(found[0].name)
    assert used == {spec.name for spec in sae_bench.specs}


@pytest.mark.parametrize("sae_bench", PEER_EVALS.values(), ids=list(PEER_EVALS))
def test_required_and_whole_numbers_are_those_of_the_schema(sae_bench: SaeBenchEval) -> None:
    schema = _schema(sae_bench)
    required, whole = set(), set()
    for content in _categories(schema).values():
        required |= set(content.get("required", ()))
        whole |= {key for key, entry in content["properties"].items() if entry.get("type") == "integer"}
    assert (sae_bench.required, sae_bench.whole) == (required, whole)


@pytest.mark.parametrize("sae_bench", PEER_EVALS.values(), ids=list(PEER_EVALS))
def test_required_numbers_of_the_details_are_those_of_the_schema(sae_bench: SaeBenchEval) -> None:
    schema = _schema(sae_bench)
    items = schema["properties"]["eval_result_details"].get("items") or {}
    rows = schema["$defs"].get(items.get("$ref", "").split("/")[-1], {})
    numbers = {key for key, entry in rows.get("properties", {}).items() if entry.get("type") in {"number", "integer"}}
    assert sae_bench.required_details == (numbers & set(rows.get("required", ()))) - {"index"}


def test_type_ids_lead_back_to_their_evals() -> None:
    assert BY_TYPE_ID["absorption_first_letter"].name == "absorption"
    assert len(BY_TYPE_ID) == len(PEER_EVALS)


def test_a_placeholder_matches_whole_numbers_only() -> None:
    spec = MetricSpec("m", "sae", "", "higher", "M", "sae_top_{k}_test_accuracy")
    assert match_key(spec, "sae_top_20_test_accuracy") == {"k": 20}
    assert match_key(spec, "sae_top_x_test_accuracy") is None
    assert match_key(spec, "sae_top_20_test_accuracy_2") is None


def test_core_metrics_of_ours_agree_with_the_names_given_to_published_ones() -> None:
    """A published number must never stand under the name of one that is computed otherwise."""
    from sae_research.evals.core.specs import CORE_SPECS

    ours = {spec.name: spec for spec in CORE_SPECS}
    for spec in PEER_EVALS["core"].specs:
        assert spec.name in ours, spec.name
        assert ours[spec.name].category == spec.category
    corrected = {"mse", "explained_variance", "relative_reconstruction_bias"}
    assert corrected <= {spec.key for spec in PEER_EVALS["core"].specs if spec.name.endswith("_sae_bench")}
