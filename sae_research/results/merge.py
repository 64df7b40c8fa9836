"""All results of a workspace, ours and published ones, as one list of entries and one tidy table."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sae_research.errors import UserError
from sae_research.evals.base import INTERPOLATES_HERE
from sae_research.evals.registry import eval_names, find_eval
from sae_research.measurements import EvalOutput, LatentNote, Measurement, MetricSpec, Result
from sae_research.records import read_record
from sae_research.results.document import (
    explained_version,
    from_document,
    is_intact,
    metric_specs,
    read_document,
    read_tables,
)
from sae_research.results.latents import Latents, latents_of
from sae_research.results.published import read_published
from sae_research.results.rows import Row, Source, card_label, column_name, place_text
from sae_research.results.sites import site_of

log = logging.getLogger(__name__)

STATUS_FILE = "_status.json"


@dataclass(frozen=True)
class Entry:
    """One cell, an SAE under an eval, whether it finished or failed."""

    source: Source
    sae_name: str
    eval_name: str
    result: Result | None
    """None: the cell failed, for `reason`."""
    specs: tuple[MetricSpec, ...] = ()
    reason: str | None = None
    latents: Latents | None = None
    """Of a core result that was computed here: what it records of each latent."""
    notes: tuple[LatentNote, ...] = ()
    """What a result that was computed here says of single latents."""

    @property
    def identity(self) -> tuple[Source, str]:
        """What tells one SAE from another: the source and the name."""
        return self.source, self.sae_name


def finished_evals(results: Path) -> list[str]:
    """The evals whose stages have filled the folder, in the order of `eval_names`."""
    names = {path.parent.name for path in results.glob(f"*/{STATUS_FILE}") if read_document(path).get("enabled")}
    known = [name for name in eval_names() if name in names]
    return [*known, *sorted(names - set(known))]


@dataclass(frozen=True)
class _Cell:
    """A cell of a status file."""

    sae: str
    state: Literal["done", "failed"]
    file: str | None
    """The result's name in the folder."""
    reason: str | None

    def __post_init__(self) -> None:
        if (self.state == "done") != (self.file is not None) or "/" in (self.file or ""):
            raise ValueError(f"file is {self.file!r}, expected a file's name for a cell that is done, and null else")


@dataclass(frozen=True)
class _Status:
    cells: tuple[_Cell, ...]


def read_entries(results: Path, published: Path | None, enabled: Mapping[str, bool]) -> list[Entry]:
    """The cells of the `enabled` evals that measure, in the order of evals and SAEs, then the published ones."""
    evals = [name for name, is_on in enabled.items() if is_on and _measures(name)]
    return [
        *(entry for name in evals for entry in _read_eval(results / name, name)),
        *(
            Entry("published", str(result.sae["name"]), result.eval_name, _without_records(result), specs)
            for _, result, specs in (read_published(published) if published is not None else ())
        ),
    ]


def _measures(eval_name: str) -> bool:
    """Whether its results are numbers; the others only show what these single out."""
    return eval_name not in eval_names() or not find_eval(eval_name).looks_closer


def finished_entries(results: Path, published: Path | None = None) -> list[Entry]:
    """The cells of the evals whose stages have run, whatever params.yaml says, then the published ones."""
    enabled = finished_evals(results)
    if not enabled:
        raise UserError(
            f"{results} holds no finished eval (no <eval>/{STATUS_FILE} that is enabled); run `dvc repro`, or give the "
            "results of a finished run with --results FOLDER"
        )
    return read_entries(results, published, dict.fromkeys(enabled, True))


def _read_eval(folder: Path, eval_name: str) -> Iterator[Entry]:
    for cell in _read_status(folder / STATUS_FILE, eval_name):
        if cell.state != "done" or cell.file is None:
            yield Entry("computed", cell.sae, eval_name, None, reason=cell.reason)
            continue
        result, specs = _read_intact(folder / cell.file)
        notes = tuple(find_eval(eval_name).notes(result.output)) if eval_name in eval_names() else ()
        latents = latents_of(result.output.tables) if eval_name == "core" else None
        yield Entry("computed", cell.sae, eval_name, _without_records(result), specs, latents=latents, notes=notes)


def results_of(results: Path, eval_name: str) -> Iterator[Result]:
    """The results of an eval whose stage has run, with their records per latent, one after the other."""
    folder = results / eval_name
    for cell in _read_status(folder / STATUS_FILE, eval_name):
        if cell.file is None:
            log.warning("%s has no result of %s: %s", folder, cell.sae, cell.reason)
        else:
            yield _read_intact(folder / cell.file)[0]


def _read_intact(path: Path) -> tuple[Result, tuple[MetricSpec, ...]]:
    """The result in the file, and its metrics."""
    document = read_document(path)
    if not is_intact(document):
        raise UserError(f"{path} is not as it was written: its digest differs; delete it, then run its stage again")
    with explained_version(path):
        return from_document(document, read_tables(path, document)), metric_specs(document)


def _without_records(result: Result) -> Result:
    """`result` without its records per latent or data set: no table lists them, and those of many SAEs fill memory."""
    return dataclasses.replace(result, output=EvalOutput(result.output.measurements))


def _read_status(path: Path, eval_name: str) -> tuple[_Cell, ...]:
    if not path.is_file():
        raise UserError(f"{path} is missing: eval_types.{eval_name} is true but its stage has not run; run `dvc repro`")
    status = read_document(path)
    if set(status) != {"eval", "enabled", "cells"} or status["eval"] != eval_name:
        raise UserError(f"{path} is not a status file of the eval {eval_name!r}; run its stage again")
    if not status["enabled"]:
        raise UserError(f"{path} says disabled but eval_types.{eval_name} is true; run its stage again")
    return read_record(_Status, {"cells": status["cells"]}, where=str(path)).cells


def tidy_rows(entries: Sequence[Entry], saes: Sequence[Mapping[str, Any]] = ()) -> list[Row]:
    """A row per measurement, and one per failed cell, in the order of the entries.

    `saes` are the manifest's entries: nothing else describes an SAE of which every cell failed.
    """
    cards: dict[tuple[str, str], Mapping[str, Any]] = {("computed", card["name"]): card for card in saes}
    core: dict[tuple[str, str], Mapping[str, float | None]] = {}
    for entry in entries:
        if entry.result is not None:
            cards[entry.identity] = entry.result.sae
            if entry.eval_name == "core":
                core[entry.identity] = {m.metric: m.value for m in entry.result.output.measurements if not m.at}
    rows: list[Row] = []
    for entry in entries:
        about = _about(entry, cards.get(entry.identity, {}), core.get(entry.identity, {}))
        if entry.result is None:
            rows.append(_row(about, None, Measurement("", None, entry.reason)))
        else:
            specs = {spec.name: spec for spec in entry.specs}
            rows.extend(_row(about, specs[m.metric], m) for m in entry.result.output.measurements)
    return rows


def _about(entry: Entry, card: Mapping[str, Any], core: Mapping[str, float | None]) -> dict[str, Any]:
    """What all rows of a cell share: the SAE's card, and what its core result says of its sparsity."""
    source = card.get("source") or {}
    return {
        "sae": entry.sae_name,
        "architecture": card.get("architecture", "unknown"),
        "label": card_label(card),
        "control": bool(card.get("control", False)),
        "source": entry.source,
        "baseline": source.get("baseline"),
        "d_in": card.get("d_in"),
        "d_sae": card.get("d_sae"),
        "hook_name": card.get("hook_name"),
        "layer": site.layer if (site := site_of(card.get("hook_name"))) else None,
        "scope": card.get("scope"),
        "control_for": card.get("control_for"),
        "atoms": card.get("atoms"),
        "eval": entry.eval_name,
        "l0": core.get("l0"),
        "interpolates": _interpolates(entry, core),
    }


def _interpolates(entry: Entry, core: Mapping[str, float | None]) -> float | None:
    """Core's share of interpolated sequences, or the eval's own if larger: its sequences can be longer."""
    measurements = entry.result.output.measurements if entry.result is not None else ()
    shares = [m.value for m in measurements if m.metric == INTERPOLATES_HERE.name and not m.at]
    return max((share for share in (*shares, core.get("interpolates")) if share is not None), default=None)


def _row(about: Mapping[str, Any], spec: MetricSpec | None, measurement: Measurement) -> Row:
    return Row(
        **about,
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
