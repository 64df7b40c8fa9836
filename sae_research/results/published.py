"""SAEBench's own result files, read as results. Their fields say what they are, never their paths.

They come from other people. What is not understood is an error that names file and field: leaving it out in silence
would falsify the comparison. Names must be plain, because they go into a report, a spreadsheet, pictures and a page.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sae_research.errors import UserError
from sae_research.foreign import plain_name, read_json_object, reading, shown
from sae_research.measurements import EvalOutput, Measurement, MetricSpec, Result
from sae_research.results.document import BLOCK
from sae_research.results.published_ours import check_size, object_at, read_ours
from sae_research.results.sae_bench_schema import MINUS_ONE, SaeBenchEval, by_type_id, match_key, value_range
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

    A file that cannot be understood is an error.
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
    remedy = "correct it, or remove it from the folder"
    plain_name(path.name, f"a file name in {path.parent}")
    document = read_json_object(path, remedy=remedy)
    with reading(path, remedy=remedy):
        if BLOCK in document:
            return Published(path, *read_ours(document, path))
        known = _eval_of(document, path)
        card = _card(document, path)
        config = object_at(document, "eval_config", f"{path}: ")
        output = EvalOutput(measurements=tuple(_measurements(document, known, path)))
        result = Result(key="", eval_name=known.name, sae=card, settings=config, key_parts={}, output=output)
        return Published(path, result, known.specs)


def _eval_of(document: Mapping[str, Any], path: Path) -> SaeBenchEval:
    type_id = document.get("eval_type_id")
    if not isinstance(type_id, str) or type_id not in by_type_id():
        got = "no eval_type_id" if type_id is None else f"eval_type_id {shown(type_id)}"
        raise UserError(
            f"{path} is not a SAEBench result that can be shown: it has {got}, expected one of "
            f"{', '.join(sorted(by_type_id()))}; remove it from the folder"
        )
    return by_type_id()[type_id]


def _name(document: Mapping[str, Any], key: str, path: Path) -> str | None:
    """`document[key]`, a plain name; None where it is null, empty or missing."""
    value = document.get(key)
    return None if value in (None, "") else plain_name(value, f"{path}: {key}")


def _card(document: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The SAE that was measured. SAELens 6 keeps the hook below `metadata`, older versions at the top."""
    release, sae_id = _name(document, "sae_lens_release_id", path), _name(document, "sae_lens_id", path)
    if not release and not sae_id:
        raise UserError(
            f"{path} does not say which SAE it is about: sae_lens_release_id and sae_lens_id are empty; "
            "fill in one of them or remove the file"
        )
    config = object_at(document, "sae_cfg_dict", f"{path}: ")
    metadata = object_at(config, "metadata", f"{path}: sae_cfg_dict.")
    sizes = {key: config.get(key) for key in ("d_in", "d_sae")}
    stated = _name(config, "architecture", path) or "unknown"
    architecture = _TRAININGS.get(stated) or architecture_called(stated) or stated
    name = release if sae_id in (None, "custom_sae") else f"{release}/{sae_id}" if release else sae_id
    return {
        "name": name,
        "architecture": architecture,
        "label": architecture,
        **{k: None if v is None else check_size(v, f"{path}: sae_cfg_dict.{k}") for k, v in sizes.items()},
        "hook_name": _name(config, "hook_name", path) or _name(metadata, "hook_name", path),
        "model_name": _name(config, "model_name", path) or _name(metadata, "model_name", path),
        "source": {"file": path.name, "release": release, "sae_id": sae_id},
    }


def _measurements(document: Mapping[str, Any], known: SaeBenchEval, path: Path) -> Iterator[Measurement]:
    """The numbers of a file, each of its metrics' keys understood, and none missing that the eval always has."""
    metrics = document.get("eval_result_metrics")
    if not isinstance(metrics, Mapping) or not all(isinstance(category, Mapping) for category in metrics.values()):
        raise UserError(
            f"{path} has no eval_result_metrics of the form {{category: {{metric: number}}}}; remove it from the folder"
        )
    by_category: dict[str, list[MetricSpec]] = {}
    for spec in known.specs:
        by_category.setdefault(spec.category, []).append(spec)
    for category, values in metrics.items():
        specs = by_category.get(category)
        if specs is None:
            raise _unknown("eval_result_metrics", category, by_category, path)
        for key in values:
            if all(match_key(spec, key) is None for spec in specs):
                raise _unknown(f"eval_result_metrics.{category}", key, [str(spec.key) for spec in specs], path)
        yield from _matched(values, specs, known, path, {})
    present = {key for values in metrics.values() for key in values}
    missing = sorted(known.required - present)
    if missing or not present:
        lacks = ", ".join(missing[:3]) + (f", ... ({len(missing)} in all)" if len(missing) > 3 else "")
        raise UserError(
            f"{path} lacks {lacks or 'every number'}, which SAEBench 0.6.0 has for {known.name}; other versions have "
            "other formulas under the same names: remove it from the folder"
        )
    yield from _of_details(document, known, path)


def _unknown(where: str, key: str, valid: Iterable[str], path: Path) -> UserError:
    return UserError(
        f"{path}: {where} has {shown(key)}, which SAEBench 0.6.0 does not have; it has: {', '.join(valid)}; "
        "rename or remove it, or remove the file"
    )


def _of_details(document: Mapping[str, Any], known: SaeBenchEval, path: Path) -> Iterator[Measurement]:
    """The numbers of single data sets."""
    details = document.get("eval_result_details")
    if details is None:
        return
    if not isinstance(details, Sequence) or not all(isinstance(row, Mapping) for row in details):
        raise UserError(f"{path}: eval_result_details is {shown(details)}, expected a list of objects")
    for row in details:
        if "dataset_name" in row:
            # SAEBench names the results of a data set `<data set>_results`.
            name = plain_name(row["dataset_name"], f"{path}: dataset_name").removesuffix("_results")
            yield from _matched(row, known.specs, known, path, {"dataset": name})


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
    if isinstance(value, bool) or not isinstance(value, (int, float)) or (isinstance(value, int) and value >= 2**63):
        raise UserError(f"{where} is {shown(value)}, expected a number")
    if not math.isfinite(value):
        return Measurement(metric, None, f"{value} in SAEBench's file", at=at)
    if value == MINUS_ONE and known.schema.minus_one_is_missing:
        return Measurement(metric, None, "-1 in SAEBench's file: its sign for a missing number", at=at)
    low, high = value_range(metric)
    if not low <= value <= high:
        raise UserError(f"{where} is {shown(value)}, expected {low:g} to {high:g}; is it in percent?")
    return Measurement(metric, float(value), at=at)
