"""Results as SAEBench writes them, plus one block of our own, `sae_research`, for what its schema has no place for.

The document is a function of the result alone: no clock, no random id, sorted keys, ten significant digits. Our block
holds everything that a `Result` holds (a missing value is null, with its reason). The rest is what SAEBench accepts:

- a missing number is null where SAEBench's class allows null, and -1 where it does not: its own sign for it;
- `eval_config` holds our settings, and SAEBench's names for those that it has too;
- metrics that SAEBench's schema does not have stand in our block alone;
- what it has as a record per latent is a table, a file beside the document (`results/table_files.py`): at 131,072
  latents the records take 62 MB. `results/sae_bench_files.py` writes them out.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sae_research.digests import digest_of
from sae_research.errors import UserError
from sae_research.evals.registry import find_eval
from sae_research.files import write_atomically
from sae_research.foreign import read_json_object
from sae_research.measurements import EvalOutput, Measurement, MetricSpec, Result, Table
from sae_research.results.numbers import json_text, stable
from sae_research.results.sae_bench_schema import MINUS_ONE, SaeBenchEval, placeholders, sae_bench_evals
from sae_research.results.table_files import read_table_file, table_path, write_tables

BLOCK = "sae_research"
_IDS = uuid.uuid5(uuid.NAMESPACE_URL, "sae_research/eval_id")


def to_document(result: Result, specs: Sequence[MetricSpec] | None = None) -> dict[str, Any]:
    """`result` as a JSON document; `specs` are its eval's metrics, by default those of the eval of its name."""
    specs = find_eval(result.eval_name).specs if specs is None else specs
    by_name = {spec.name: spec for spec in specs}
    unknown = sorted({m.metric for m in result.output.measurements} - set(by_name))
    if unknown:
        raise ValueError(f"{result.eval_name} measured {', '.join(unknown)} without a MetricSpec")
    known = sae_bench_evals().get(result.eval_name)
    details, nulls = _details(result.output.details, known)
    official = result.key_parts.get("engine") == "sae_bench"
    placed = by_name
    made_by = f"not run by SAEBench: sae_research {result.versions.get('sae_research', '')}".strip()
    if official:
        # Its own numbers stand under its keys, whatever formula our plain name has.
        placed = by_name | {f"{spec.key}_sae_bench": spec for spec in (known.specs if known else ())}
        made_by = f"SAEBench {result.versions.get('sae-bench', '')}, run by sae_research".strip()
    document = {
        "eval_type_id": known.schema.type_id if known else result.eval_name,
        "eval_config": _config(result, known),
        "eval_id": str(uuid.uuid5(_IDS, result.key)),
        "datetime_epoch_millis": 0,
        "eval_result_metrics": _metrics(result.output.measurements, placed, known),
        "eval_result_details": details,
        "eval_result_unstructured": dict(result.output.unstructured),
        "sae_bench_commit_hash": made_by,
        **_identity(result),
        BLOCK: {
            "eval": result.eval_name,
            "key": result.key,
            "key_parts": dict(result.key_parts),
            "settings": dict(result.settings),
            "sae": dict(result.sae),
            "versions": dict(result.versions),
            "metrics": {
                spec.name: {key: value for key, value in asdict(spec).items() if key != "name"} for spec in specs
            },
            "measurements": [_entry(m) for m in result.output.measurements],
            "details_null": nulls,
            "tables": {
                name: {"rows": len(table), "columns": sorted(table.columns), "digest": table.digest()}
                for name, table in result.output.tables.items()
            },
            **({"judge": dict(result.output.judge)} if result.output.judge else {}),
        },
    }
    return sealed(stable(document))


def sealed(document: dict[str, Any]) -> dict[str, Any]:
    """`document` with the digest of all the rest in our block."""
    block = {key: value for key, value in document[BLOCK].items() if key != "digest"}
    digest = digest_of({**document, BLOCK: block})
    return {**document, BLOCK: {**block, "digest": digest}}


def is_intact(document: Any) -> bool:
    """Whether `document` is one of ours, as it was written."""
    try:
        return document[BLOCK]["digest"] == sealed(document)[BLOCK]["digest"]
    except (KeyError, TypeError, AttributeError):
        return False


def from_document(document: Mapping[str, Any], tables: Mapping[str, Table] = MappingProxyType({})) -> Result:
    """The result that `to_document` wrote, with these of its tables; floats have the ten digits that were written."""
    block = document[BLOCK]
    details = [dict(row) for row in document["eval_result_details"]]
    for name, indices in block["details_null"].items():
        for index in indices:
            details[index][name] = None
    output = EvalOutput(
        measurements=tuple(
            Measurement(**{**entry, "replicates": tuple(entry["replicates"])}) for entry in block["measurements"]
        ),
        details=details,
        unstructured=document["eval_result_unstructured"],
        tables=dict(tables),
        judge=block.get("judge", {}),
    )
    return Result(
        key=block["key"],
        eval_name=block["eval"],
        sae=block["sae"],
        settings=block["settings"],
        key_parts=block["key_parts"],
        output=output,
        versions=block["versions"],
    )


def metric_specs(document: Mapping[str, Any]) -> tuple[MetricSpec, ...]:
    """The metrics that one of our documents describes."""
    return tuple(MetricSpec(name=name, **entry) for name, entry in document[BLOCK]["metrics"].items())


def document_text(document: Mapping[str, Any]) -> str:
    """The document as text: sorted keys, a final newline, always the same bytes."""
    return json_text(document)


def write_result(
    path: Path, result: Result, specs: Sequence[MetricSpec] | None = None, *, scratch: Path | None = None
) -> None:
    """Writes the document at `path` and its tables, each whole or not at all, the document last.

    `scratch` is a folder of the same file system, outside the out; without it files are made beside `path`.
    """
    write_tables(path, result.output.tables, scratch=scratch)
    write_atomically(path, document_text(to_document(result, specs)), scratch=scratch)


def read_document(path: Path) -> dict[str, Any]:
    """The JSON object in the file at `path`."""
    return read_json_object(path, remedy="delete it, then run its stage again")


def read_result(path: Path) -> Result:
    """The result in one of our files, with its tables."""
    document = read_document(path)
    if BLOCK not in document:
        raise UserError(f"{path} was not written by sae_research; SAEBench's own files belong in published_results/")
    with explained_version(path):
        return from_document(document, read_tables(path, document))


def read_tables(path: Path, document: Mapping[str, Any]) -> dict[str, Table]:
    """All tables of the document at `path`, as they were written; UserError where one is not."""
    return {name: read_one_table(path, document, name) for name in document[BLOCK]["tables"]}


def read_one_table(path: Path, document: Mapping[str, Any], name: str) -> Table:
    """The table of that name of the document at `path`; UserError where it is not as it was written."""
    table, file = read_table_file(table_path(path, name)), table_path(path, name)
    if table.digest() != document[BLOCK]["tables"][name]["digest"]:
        raise UserError(f"{file} is not as it was written: its digest differs; delete it, then run its stage again")
    return table


@contextmanager
def explained_version(path: Path) -> Iterator[None]:
    """Turns a field that another version's document lacks or has in excess into a UserError that names the file."""
    try:
        yield
    except (KeyError, TypeError, IndexError) as error:
        raise UserError(
            f"{path} was written by another version of sae_research ({type(error).__name__}: {error}); "
            "run its stage again"
        ) from error


def _entry(measurement: Measurement) -> dict[str, Any]:
    if (measurement.value is None) != (measurement.reason is not None):
        raise ValueError(f"{measurement.metric}: a missing value needs a reason, and a value has none: {measurement}")
    return {**asdict(measurement), "at": dict(measurement.at), "replicates": list(measurement.replicates)}


def _config(result: Result, known: SaeBenchEval | None) -> dict[str, Any]:
    """SAEBench's `eval_config`: our settings, and its names for those that it has too."""
    settings = dict(result.settings)
    names = known.schema.config_names if known else {}
    renamed = {alias: settings[name] for name, alias in names.items() if name in settings}
    model = result.key_parts.get("model") or {}
    shared = {
        "model_name": model.get("name"),
        "llm_dtype": model.get("dtype"),
        "random_seed": result.key_parts.get("seed"),
    }
    present = {key: value for key, value in shared.items() if value is not None}
    return {**settings, **renamed, **present, **(known.schema.config_constants if known else {})}


def _metrics(
    measurements: Sequence[Measurement], specs: Mapping[str, MetricSpec], known: SaeBenchEval | None
) -> dict[str, dict[str, float | None]]:
    """SAEBench's `eval_result_metrics`: every key its class requires, and whatever else of its schema was measured."""
    required = known.required if known else frozenset()
    whole = known.schema.whole if known else frozenset()
    metrics: dict[str, dict[str, float | None]] = {}
    for spec in known.specs if known else ():
        category = metrics.setdefault(spec.category, {})
        if spec.key in required:
            category[str(spec.key)] = MINUS_ONE
    for measurement in measurements:
        spec = specs[measurement.metric]
        if spec.key is None or set(placeholders(spec.key)) != set(measurement.at):
            continue
        key, value = spec.key.format(**measurement.at), measurement.value
        if value is None:
            metrics.setdefault(spec.category, {})[key] = MINUS_ONE if key in required else None
        else:
            metrics.setdefault(spec.category, {})[key] = int(value) if key in whole else float(value)
    return metrics


def _details(
    details: Sequence[Mapping[str, Any]], known: SaeBenchEval | None
) -> tuple[list[dict[str, Any]], dict[str, list[int]]]:
    """The details as SAEBench's classes take them, and the rows, by field, where its -1 stands for a null of ours."""
    required = known.schema.required_details if known else frozenset()
    rows = [dict(row) for row in details]
    nulls: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        for name in required & row.keys():
            if row[name] is None:
                row[name] = MINUS_ONE
                nulls.setdefault(name, []).append(index)
    return rows, nulls


def _identity(result: Result) -> dict[str, Any]:
    """SAEBench's fields about the SAE; one that is not in SAELens' registry is a `custom_sae`."""
    source = result.sae.get("source") or {}
    registered = "release" in source and "sae_id" in source
    hyperparameters = result.sae.get("hyperparameters") or {}
    plain = {key: value for key, value in result.sae.items() if key not in {"source", "hyperparameters"}}
    return {
        "sae_lens_id": source["sae_id"] if registered else "custom_sae",
        "sae_lens_release_id": source["release"] if registered else result.sae["name"],
        "sae_lens_version": result.versions.get("sae_lens"),
        "sae_cfg_dict": {**hyperparameters, **plain},
    }
