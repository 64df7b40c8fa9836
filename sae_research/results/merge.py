"""All results of a workspace, our own and published ones, as one list of entries and one tidy table."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sae_research.errors import UserError
from sae_research.measurements import EvalOutput, Measurement, MetricSpec, Result
from sae_research.results.document import explained_version, from_document, metric_specs, read_document
from sae_research.results.published import read_published
from sae_research.results.rows import Row, Source, card_label, column_name, place_text

STATUS_FILE = "_status.json"


@dataclass(frozen=True)
class Entry:
    """One cell: an SAE under an eval, done or failed."""

    source: Source
    sae_name: str
    eval_name: str
    result: Result | None
    """None: the cell failed, for `reason`."""
    specs: tuple[MetricSpec, ...] = ()
    reason: str | None = None


@dataclass(frozen=True)
class Sparsity:
    """What every row of an SAE carries of its core result."""

    l0: float | None
    interpolates: float | None


def read_entries(results: Path, published: Path, enabled: Mapping[str, bool]) -> list[Entry]:
    """The cells of all evals that are `enabled`, in the order of evals and SAEs, then the published ones."""
    own = [entry for name, is_on in enabled.items() if is_on for entry in _read_eval(results / name, name)]
    return own + [
        Entry("published", str(result.sae["name"]), result.eval_name, _without_records(result), specs)
        for _, result, specs in read_published(published)
    ]


def _read_eval(folder: Path, eval_name: str) -> Iterator[Entry]:
    status = _read_status(folder / STATUS_FILE, eval_name)
    for cell in status["cells"]:
        if cell["state"] != "done":
            yield Entry("computed", cell["sae"], eval_name, None, reason=cell["reason"])
            continue
        path = folder / cell["file"]
        document = read_document(path)
        with explained_version(path):
            result = _without_records(from_document(document))
            yield Entry("computed", cell["sae"], eval_name, result, metric_specs(document))


def _without_records(result: Result) -> Result:
    """`result` without its records per latent or data set: no table uses them, and all SAEs' at once fill a memory."""
    return dataclasses.replace(result, output=EvalOutput(result.output.measurements))


def _read_status(path: Path, eval_name: str) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"{path} is missing: eval_types.{eval_name} is true but its stage has not run; run `dvc repro`")
    status = read_document(path)
    if set(status) != {"eval", "enabled", "cells"} or status["eval"] != eval_name:
        raise UserError(f"{path} is no status file of the eval {eval_name!r}; run its stage again")
    if not status["enabled"]:
        raise UserError(f"{path} says disabled but eval_types.{eval_name} is true; run its stage again")
    return status


def tidy_rows(entries: Sequence[Entry], saes: Sequence[Mapping[str, Any]] = ()) -> list[Row]:
    """A row per measurement, and one per failed cell, in the order of the entries.

    `saes` are the manifest's entries: an SAE of which every cell failed is described by nothing else.
    """
    sparsity = {_identity(entry): _sparsity(entry.result) for entry in entries if _is_core(entry)}
    cards: dict[tuple[str, str], Mapping[str, Any]] = {("computed", card["name"]): card for card in saes}
    cards |= {_identity(entry): entry.result.sae for entry in entries if entry.result is not None}
    rows: list[Row] = []
    for entry in entries:
        card = _card_columns(entry, cards.get(_identity(entry), {}))
        known = sparsity.get(_identity(entry), Sparsity(None, None))
        card |= {"l0": known.l0, "interpolates": known.interpolates}
        rows.extend(_entry_rows(entry, card))
    return rows


def _is_core(entry: Entry) -> bool:
    return entry.eval_name == "core" and entry.result is not None


def _identity(entry: Entry) -> tuple[str, str]:
    return entry.source, entry.sae_name


def _sparsity(result: Result | None) -> Sparsity:
    measured = {m.metric: m.value for m in result.output.measurements if not m.at} if result else {}
    return Sparsity(l0=measured.get("l0"), interpolates=measured.get("interpolates"))


def _card_columns(entry: Entry, card: Mapping[str, Any]) -> dict[str, Any]:
    source = card.get("source") or {}
    return {
        "sae": entry.sae_name,
        "architecture": card.get("architecture", "unknown"),
        "label": card_label(card),
        "source": entry.source,
        "baseline": source.get("baseline"),
        "d_in": card.get("d_in"),
        "d_sae": card.get("d_sae"),
        "hook_name": card.get("hook_name"),
        "eval": entry.eval_name,
    }


def _entry_rows(entry: Entry, card: Mapping[str, Any]) -> Iterator[Row]:
    if entry.result is None:
        yield _row(card, None, Measurement("", None, entry.reason))
        return
    specs = {spec.name: spec for spec in entry.specs}
    for measurement in entry.result.output.measurements:
        yield _row(card, specs[measurement.metric], measurement)


def _row(card: Mapping[str, Any], spec: MetricSpec | None, measurement: Measurement) -> Row:
    return Row(
        **card,
        metric=measurement.metric or None,
        at=place_text(measurement.at),
        value=measurement.value,
        reason=measurement.reason,
        ci_low=measurement.ci_low,
        ci_high=measurement.ci_high,
        unit=spec.unit if spec else None,
        direction=spec.direction if spec else None,
        title=spec.title if spec else None,
        headline=spec.headline if spec else False,
        column=column_name(spec, measurement.at) if spec else None,
    )
