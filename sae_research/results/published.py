"""SAEBench's own result files, read as results. Their fields say what they are, never their paths."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sae_research.errors import UserError
from sae_research.measurements import EvalOutput, Measurement, MetricSpec, Result
from sae_research.results.document import BLOCK, explained_version, from_document, metric_specs, read_document
from sae_research.results.sae_bench_schema import MINUS_ONE, SaeBenchEval, by_type_id, match_key
from sae_research.saes.registry import architecture_called

_TRAININGS: Mapping[str, str] = {"matryoshka_batch_topk": "matryoshka", "matryoshka_batchtopk": "matryoshka"}
"""SAEBench's and SAELens' names for a way of training that has a label of its own."""


class Published(NamedTuple):
    """A result from a file, with the metrics it uses."""

    path: Path
    result: Result
    specs: tuple[MetricSpec, ...]


def read_published(folder: Path) -> list[Published]:
    """All results in the JSON files below `folder`, in the order of their paths; a missing folder has none.

    A file that cannot be understood is an error: leaving it out silently would falsify the comparison.
    """
    files = sorted(path for path in folder.rglob("*.json") if path.is_file()) if folder.is_dir() else []
    published = [read_published_file(path) for path in files]
    first: dict[tuple[str, str], Path] = {}
    for path, result, _ in published:
        cell = (result.eval_name, result.sae["name"])
        if cell in first:
            raise UserError(f"{path} and {first[cell]} both report {cell[0]!r} of {cell[1]!r}; keep one of them")
        first[cell] = path
    return published


def read_published_file(path: Path) -> Published:
    """The result in one of SAEBench's files, or of ours."""
    document = read_document(path)
    if BLOCK in document:
        with explained_version(path):
            return Published(path, from_document(document), metric_specs(document))
    known = _eval_of(document, path)
    card = _card(document, path)
    config = document.get("eval_config") or {}
    output = EvalOutput(measurements=tuple(_measurements(document, known, path)))
    result = Result(key="", eval_name=known.name, sae=card, settings=config, key_parts={}, output=output)
    return Published(path, result, known.specs)


def _eval_of(document: Mapping[str, Any], path: Path) -> SaeBenchEval:
    type_id = document.get("eval_type_id")
    if not isinstance(type_id, str) or type_id not in by_type_id():
        got = "no eval_type_id" if type_id is None else f"eval_type_id {type_id!r}"
        raise UserError(
            f"{path} is not a SAEBench result that can be shown: it has {got}, expected one of "
            f"{', '.join(sorted(by_type_id()))}; remove it from the folder"
        )
    return by_type_id()[type_id]


def _card(document: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The SAE that was measured. SAELens 6 keeps the hook below `metadata`, older versions at the top."""
    release, sae_id = document.get("sae_lens_release_id"), document.get("sae_lens_id")
    if not release and not sae_id:
        raise UserError(
            f"{path} does not say which SAE it is about: sae_lens_release_id and sae_lens_id are empty; "
            "fill in one of them or remove the file"
        )
    config = document.get("sae_cfg_dict") or {}
    metadata = config.get("metadata") or {}
    stated = config.get("architecture") or "unknown"
    architecture = _TRAININGS.get(stated) or architecture_called(stated) or stated
    name = release if sae_id in (None, "", "custom_sae") else f"{release}/{sae_id}" if release else sae_id
    return {
        "name": name,
        "architecture": architecture,
        "label": architecture,
        "d_in": config.get("d_in"),
        "d_sae": config.get("d_sae"),
        "hook_name": config.get("hook_name") or metadata.get("hook_name"),
        "model_name": config.get("model_name") or metadata.get("model_name"),
        "source": {"file": path.name, "release": release, "sae_id": sae_id},
    }


def _measurements(document: Mapping[str, Any], known: SaeBenchEval, path: Path) -> Iterator[Measurement]:
    metrics = document.get("eval_result_metrics")
    if not isinstance(metrics, Mapping) or not all(isinstance(category, Mapping) for category in metrics.values()):
        raise UserError(
            f"{path} has no eval_result_metrics of the form {{category: {{metric: number}}}}; remove it from the folder"
        )
    for category, values in metrics.items():
        specs = [spec for spec in known.specs if spec.category == category]
        yield from _matched(values, specs, known, path, {})
    for row in document.get("eval_result_details") or ():
        if isinstance(row, Mapping) and isinstance(row.get("dataset_name"), str):
            # SAEBench names the results of a data set `<data set>_results`.
            place = {"dataset": row["dataset_name"].removesuffix("_results")}
            yield from _matched(row, known.specs, known, path, place)


def _matched(
    values: Mapping[str, Any],
    specs: Sequence[MetricSpec],
    known: SaeBenchEval,
    path: Path,
    place: Mapping[str, str],
) -> Iterator[Measurement]:
    """A measurement for each key that is a metric's. An optional key that is null was not asked for: none."""
    for key, value in values.items():
        for spec in specs:
            at = match_key(spec, key)
            if at is not None and (value is not None or key in known.required):
                yield _measurement(spec.name, value, {**at, **place}, known, f"{path}: {key}")


def _measurement(metric: str, value: Any, at: Mapping[str, Any], known: SaeBenchEval, where: str) -> Measurement:
    if value is None:
        return Measurement(metric, None, "null in SAEBench's file", at=at)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UserError(f"{where} is {value!r}, expected a number")
    if not math.isfinite(value):
        return Measurement(metric, None, f"{value} in SAEBench's file", at=at)
    if value == MINUS_ONE and known.schema.minus_one_is_missing:
        return Measurement(metric, None, "-1 in SAEBench's file: its sign for a missing number", at=at)
    return Measurement(metric, float(value), at=at)
