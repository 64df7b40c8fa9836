"""Results of made-up SAEs, and whole workspaces of them, for the tests that take these fixtures."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from sae_research.measurements import EvalOutput, Measurement, Result
from sae_research.pipeline.paths import Paths
from sae_research.results.document import write_result
from sae_research.results.sae_bench_schema import sae_bench_evals


def make_card(name: str = "topk_k8", architecture: str = "topk", **more: Any) -> dict[str, Any]:
    card = {
        "name": name,
        "architecture": architecture,
        "hook_name": "blocks.0.hook_resid_post",
        "d_in": 128,
        "d_sae": 512,
        "hyperparameters": {"k": 8},
        "source": {"repo_id": "embedded/sae-topk", "filename": "k8"},
        "digest": "ab" * 32,
    }
    return {**card, **more}


def make_core(card: Mapping[str, Any] | None = None, **values: float | None) -> Result:
    """A core result; None stands for a missing number."""
    numbers: dict[str, float | None] = {
        "l0": 8.0,
        "ce_loss_score": 0.91,
        "explained_variance": 0.83,
        "interpolates": 0.0,
        "total_tokens_eval_reconstruction": 20480.0,
    }
    numbers |= values
    measurements = [
        Measurement(name, value, "no batch had it" if value is None else None) for name, value in numbers.items()
    ]
    settings = {"dataset": "embedded/text", "batch_size": 16, "n_reconstruction_batches": 10, "n_sparsity_batches": 50}
    settings |= {"context_size": 128, "exclude_special_tokens_from_reconstruction": True}
    return _result("core", card, settings, measurements)


def make_probing(card: Mapping[str, Any] | None = None, ks: Sequence[int] = (1, 5)) -> Result:
    """A sparse probing result, with one data set's parts."""
    measurements = [Measurement("llm_test_accuracy", 0.96, ci_low=0.95, ci_high=0.97)]
    for k in ks:
        measurements += [
            Measurement("llm_top_k_test_accuracy", 0.6 + 0.05 * k, at={"k": k}),
            Measurement("sae_top_k_test_accuracy", 0.7 + 0.03 * k, None, 0.69 + 0.03 * k, 0.71 + 0.03 * k, {"k": k}),
            Measurement("sae_top_k_test_accuracy", 0.75, at={"k": k, "dataset": "embedded/bios"}),
        ]
    settings = {"dataset_names": ["embedded/bios"], "k_values": list(ks)}
    return _result("sparse_probing", card, settings, measurements)


def _result(
    name: str, card: Mapping[str, Any] | None, settings: dict[str, Any], measurements: list[Measurement]
) -> Result:
    card = card or make_card()
    parts = {"model": {"name": "embedded/lm", "revision": "sha256:12", "dtype": "float32"}, "seed": 42}
    output = EvalOutput(tuple(measurements))
    return Result(f"{name}-{card['name']}", name, card, settings, parts, output, {"torch": "2.13.0"})


def sae_bench_core(**numbers: float) -> dict[str, dict[str, float]]:
    """`eval_result_metrics` of SAEBench's core: 0.5 unless given."""
    metrics: dict[str, dict[str, float]] = {}
    for spec in sae_bench_evals()["core"].specs:
        metrics.setdefault(spec.category, {})[str(spec.key)] = numbers.get(str(spec.key), 0.5)
    return metrics


class Workspace:
    """Results on disk as the eval stages leave them."""

    def __init__(self, root: Path) -> None:
        self.paths = Paths(root=root, store=root / ".sae_cache")
        self.cells: dict[str, list[dict[str, Any]]] = {}

    def add(self, result: Result) -> None:
        file = f"{result.sae['name']}_eval_results.json"
        folder = self.paths.results / result.eval_name
        write_result(folder / file, result, scratch=self.paths.scratch)
        self._note(result.eval_name, {"sae": result.sae["name"], "file": file, "state": "done", "reason": None})

    def fail(self, eval_name: str, sae: str, reason: str) -> None:
        self._note(eval_name, {"sae": sae, "file": None, "state": "failed", "reason": reason})

    def publish(self, name: str, document: Mapping[str, Any] | str) -> Path:
        path = self.paths.published / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
        return path

    def disable(self, eval_name: str) -> None:
        self._write_status(eval_name, enabled=False)

    def _note(self, eval_name: str, cell: dict[str, Any]) -> None:
        self.cells.setdefault(eval_name, []).append(cell)
        self._write_status(eval_name, enabled=True)

    def _write_status(self, eval_name: str, *, enabled: bool) -> None:
        folder = self.paths.results / eval_name
        folder.mkdir(parents=True, exist_ok=True)
        status = {"eval": eval_name, "enabled": enabled, "cells": self.cells.get(eval_name, [])}
        (folder / "_status.json").write_text(json.dumps(status), encoding="utf-8")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


@pytest.fixture
def core_result() -> Callable[..., Result]:
    return make_core


@pytest.fixture
def probing_result() -> Callable[..., Result]:
    return make_probing


@pytest.fixture
def card() -> Callable[..., dict[str, Any]]:
    return make_card


@pytest.fixture
def filled(workspace: Workspace) -> Workspace:
    """Three SAEs under two evals; one cell failed, one SAE interpolates."""
    workspace.add(make_core(make_card("topk_k8")))
    ihtp = make_card("ihtp_k5", "ihtp", source={"repo_id": "embedded/sae-relu", "baseline": "relu"})
    workspace.add(make_core(ihtp, l0=88.0, ce_loss_score=1.0, interpolates=0.97, explained_variance=0.9999))
    workspace.fail("core", "gated", "checkpoint | has NaN weights")
    workspace.add(make_probing(make_card("topk_k8")))
    workspace.add(make_probing(ihtp))
    workspace.add(make_probing(make_card("gated", "gated")))
    return workspace
