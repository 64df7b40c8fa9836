"""`engine: sae_bench`: the stages' cells computed by SAEBench itself, on the tiny world."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.project import ROOT, TINY, Project

from sae_research.errors import UserError
from sae_research.evals.registry import eval_names, optional_evals
from sae_research.measurements import Measurement, Result
from sae_research.pipeline.params import Params, load_params
from sae_research.pipeline.paths import Paths, find_paths
from sae_research.pipeline.plan import explain_plan
from sae_research.pipeline.stages.evals import run_eval_stage
from sae_research.pipeline.stages.setup import run_setup
from sae_research.reference.registry import reference_names
from sae_research.results.document import read_document, read_result

EVALS = ("core", "sparse_probing")
_TRAINED = {"repo_id": "embedded/sae-topk", "filename": "k8"}
NOT_COMPUTED = "not computed by sae_bench"
# SAEBench's own formulas, which the plain names do not stand for.
OWN_FORMULA = ("mse", "explained_variance", "relative_reconstruction_bias")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> tuple[Params, Paths]:
    """The tiny world and four SAEs, set up; its sparse probing draws as SAEBench does."""
    root = tmp_path_factory.mktemp("engine")
    (root / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    Project(root).edit({**TINY, "comparison_saes": [_TRAINED], "sparse_probing": {
        **TINY["sparse_probing"], "dataset_names": ["embedded/news", "embedded/languages"], "sampling": "sae_bench"
    }})  # fmt: skip
    Project(root).edit({"eval_types": {name: name in EVALS for name in eval_names()}})
    paths = find_paths(root)
    params = load_params(paths.params)
    run_setup(params, paths)
    return params, paths


def _run(params: Params, paths: Paths) -> dict[str, list[Result]]:
    """The results of both stages, by eval."""
    results = {}
    for name in EVALS:
        assert run_eval_stage(name, params, paths).failures == {}
        results[name] = [read_result(path) for path in sorted((paths.results / name).glob("*_eval_results.json"))]
    return results


@pytest.fixture(scope="module")
def native(workspace: tuple[Params, Paths]) -> dict[str, list[Result]]:
    return _run(*workspace)


@pytest.fixture(scope="module")
def official(workspace: tuple[Params, Paths], native: dict[str, list[Result]]) -> dict[str, list[Result]]:
    params, paths = workspace
    return _run(dataclasses.replace(params, engine="sae_bench"), paths)


def _numbers(result: Result) -> dict[tuple[str, str], Measurement]:
    return {(m.metric, json.dumps(dict(m.at), sort_keys=True)): m for m in result.output.measurements}


def test_core_agrees_with_native_in_every_number_that_it_gives(
    native: dict[str, list[Result]], official: dict[str, list[Result]]
) -> None:
    for ours, sae_bench in zip(native["core"], official["core"], strict=True):
        assert ours.sae["name"] == sae_bench.sae["name"]
        our_numbers, numbers = _numbers(ours), _numbers(sae_bench)
        assert numbers.keys() == our_numbers.keys()
        values = {place: m.value for place, m in numbers.items() if m.value is not None}
        assert {metric for metric, _ in values} >= {"l0", "kl_div_score", "ce_loss_score", "cossim", "mse_sae_bench"}
        # SAEBench knows no mask, so BOS takes part in what a sequence shares.
        for place, value in values.items() if ours.sae["scope"] == "token" else ():
            assert value == pytest.approx(our_numbers[place].value, rel=1e-4, abs=1e-6), (ours.sae["name"], place)
        for name in OWN_FORMULA:
            assert numbers[name, "{}"].reason == NOT_COMPUTED
        signed = ours.sae["architecture"] in {"ihtp", "mpsae"}
        assert (numbers["frac_alive", "{}"].value is None) is signed
        latents, theirs = ours.output.tables["latents"], sae_bench.output.tables["latents"]
        assert theirs.columns.keys() <= latents.columns.keys()
        for name, column in theirs.columns.items() if ours.sae["scope"] == "token" else ():
            known = np.isfinite(column) & np.isfinite(latents[name])
            assert latents[name][known] == pytest.approx(column[known], rel=1e-4, abs=1e-6)


def test_sparse_probing_agrees_with_native_to_one_test_example(
    native: dict[str, list[Result]], official: dict[str, list[Result]]
) -> None:
    pairs = list(zip(native["sparse_probing"], official["sparse_probing"], strict=True))
    for ours, sae_bench in (pair for pair in pairs if pair[0].sae["scope"] == "token"):
        for name, classes in sae_bench.output.unstructured.items():
            our_classes = ours.output.unstructured[name]
            for k in (1, 2):
                # The model's probes are drawn when its cache is filled, in another place: their values differ.
                key = f"sae_top_{k}_test_accuracy"
                assert classes[key] == pytest.approx(our_classes[key], abs=1 / 20 + 1e-6), (ours.sae["name"], key)
                for key in (f"sae_top_{k}_test_accuracy", f"llm_top_{k}_test_accuracy"):
                    assert classes[key].keys() == our_classes[key].keys()
        numbers = _numbers(sae_bench)
        assert numbers["sae_test_accuracy", "{}"].reason == NOT_COMPUTED
        assert numbers["sae_test_accuracy_sae_bench", "{}"].reason == NOT_COMPUTED
        llm = numbers["llm_test_accuracy_sae_bench", "{}"]
        assert llm.value is not None and llm.ci_low is not None and llm.ci_low < llm.value
        assert numbers["sae_top_k_test_accuracy", '{"k": 1}'].value is not None


def test_the_file_holds_sae_benchs_values_under_its_keys(
    workspace: tuple[Params, Paths], official: dict[str, list[Result]]
) -> None:
    _, paths = workspace
    for result in official["core"]:
        document = read_document(paths.results / "core" / f"{result.sae['name']}_eval_results.json")
        metrics = document["eval_result_metrics"]
        numbers = _numbers(result)
        quality, misc = metrics["reconstruction_quality"], metrics["misc_metrics"]
        assert quality["mse"] == numbers["mse_sae_bench", "{}"].value
        assert quality["explained_variance"] == numbers["explained_variance_sae_bench", "{}"].value
        assert misc["frac_alive"] == numbers["frac_alive_sae_bench", "{}"].value
        assert document["sae_bench_commit_hash"].startswith("SAEBench 0.6")


def test_the_engine_is_part_of_the_key_and_the_plan_says_so(
    workspace: tuple[Params, Paths], official: dict[str, list[Result]]
) -> None:
    params, paths = workspace
    n = len(official["core"])
    assert explain_plan(params, paths).endswith(f"{2 * n} cached, 0 to compute\n")
    changed = dataclasses.replace(params, engine="sae_bench", random_seed=5)
    assert "seed 42 -> 5" in explain_plan(changed, paths)
    for cells in (paths.store / "cells").glob("*/*.parts"):
        if json.loads(cells.read_text())["parts"]["engine"] == "sae_bench":
            cells.unlink()
            cells.with_suffix(".json").unlink()
    lines = explain_plan(dataclasses.replace(params, engine="sae_bench"), paths).splitlines()
    missing = [line.partition("missing: ")[2] for line in lines if "missing: " in line]
    assert missing == ['engine "native" -> "sae_bench"'] * 2 * n


def test_an_eval_that_it_does_not_offer_is_refused_before_anything_runs(tmp_path: Path) -> None:
    name = next(name for name in optional_evals() if name not in reference_names())
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    Project(tmp_path).edit({"engine": "sae_bench", "eval_types": {name: True}})
    with pytest.raises(UserError, match=rf"engine sae_bench does not offer {name}; set 'eval_types.{name}: false'"):
        load_params(tmp_path / "params.yaml")


def test_without_the_packages_it_says_what_to_install(
    workspace: tuple[Params, Paths], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    params, paths = workspace
    monkeypatch.setitem(sys.modules, "sae_bench", None)
    monkeypatch.setattr("sae_research.pipeline.execute.load_language_model", _must_not_run)
    asked = dataclasses.replace(params, engine="sae_bench", random_seed=6)
    with pytest.raises(UserError, match=r"engine sae_bench needs sae-bench: install the extra 'reference'"):
        run_eval_stage("core", asked, paths)


def _must_not_run(*_: Any, **__: Any) -> Any:
    raise AssertionError("a model was loaded")
