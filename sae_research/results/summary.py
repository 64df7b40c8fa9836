"""What the table comes to: one record per SAE for plots, a few figures for `dvc metrics`, everything in one JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

from sae_research.measurements import Measurement
from sae_research.results.merge import Entry
from sae_research.results.rows import Row, interpolation

BY_ARCHITECTURE = ("l0", "ce_loss_score")
"""The columns whose mean over an architecture (its label) stands in `metrics.json`: few, each is a column of
`dvc exp show`."""


def by_sae(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    """The rows of each SAE, by (source, name), in order of appearance."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault(row.identity, []).append(row)
    return groups


def headline_columns(rows: Sequence[Row]) -> dict[str, Row]:
    """The headline metrics' columns, each with one of its rows for unit, direction and title, in order."""
    columns: dict[str, Row] = {}
    for row in rows:
        if row.headline and row.column is not None:
            columns.setdefault(row.column, row)
    return columns


def plot_records(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """One flat record per SAE, numbers as numbers: what `dvc plots` reads."""
    records = []
    for group in by_sae(rows).values():
        first = group[0]
        values = {row.column: row.value for row in group if row.column is not None}
        card = {name: getattr(first, name) for name in ("sae", "architecture", "label", "source", "d_sae")}
        records.append({**values, **card, "l0": first.l0, "interpolates": first.interpolates})
    return records


def summarize(rows: Sequence[Row]) -> dict[str, Any]:
    """`metrics.json`: how many columns it has does not depend on how many SAEs there are.

    `best` leaves out SAEs that interpolate most of the text: their reconstruction is exact whatever they learned.
    """
    own = [row for row in rows if row.source == "computed"]
    cells = {(row.identity, row.eval): row.metric is not None for row in own}
    columns = [c for c, row in headline_columns(own).items() if row.direction != "neither"]
    labels = sorted({row.label for row in own})
    return {
        "saes": len(by_sae(own)),
        "cells": {"done": sum(cells.values()), "failed": len(cells) - sum(cells.values())},
        "best": {column: best_value(_column(own, column)) for column in columns},
        "mean": {column: _mean(_column(own, column)) for column in columns},
        "by_architecture": {
            name: {column: _mean(_column((r for r in own if r.label == name), column)) for column in BY_ARCHITECTURE}
            for name in labels
        },
    }


def _column(rows: Iterable[Row], column: str) -> list[Row]:
    return [row for row in rows if row.column == column and row.value is not None]


def best_value(rows: Sequence[Row]) -> float | None:
    """The best number of one column, SAEs that interpolate most of the text left out; None where none is better."""
    values = [row.value for row in rows if row.value is not None and interpolation(row.interpolates) != "most"]
    if not values or rows[0].direction == "neither":
        return None
    return min(values) if rows[0].direction == "lower" else max(values)


def _mean(rows: Sequence[Row]) -> float | None:
    values = [row.value for row in rows if row.value is not None]
    return fmean(values) if values else None


def merged_document(entries: Sequence[Entry], rows: Sequence[Row]) -> dict[str, Any]:
    """Everything in one JSON: the SAEs with their cards and measurements by eval, and what each metric is."""
    return {"saes": _sae_documents(entries, rows), "metrics": _metric_documents(entries)}


def _sae_documents(entries: Sequence[Entry], rows: Sequence[Row]) -> list[dict[str, Any]]:
    grouped: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        grouped.setdefault((entry.source, entry.sae_name), []).append(entry)
    described = {identity: group[0] for identity, group in by_sae(rows).items()}
    documents = []
    for identity, cells in grouped.items():
        card = next((cell.result.sae for cell in cells if cell.result is not None), {})
        row = described.get(identity)
        documents.append(
            {
                "name": identity[1],
                "source": identity[0],
                "card": card,
                "l0": row.l0 if row else None,
                "interpolates": row.interpolates if row else None,
                "evals": {cell.eval_name: _cell_document(cell) for cell in cells},
            }
        )
    return documents


def _cell_document(entry: Entry) -> Mapping[str, Any]:
    if entry.result is None:
        return {"state": "failed", "reason": entry.reason}
    return {
        "state": "done",
        "key": entry.result.key or None,
        "settings": entry.result.settings,
        "measurements": [_measurement_document(m) for m in entry.result.output.measurements],
    }


def _measurement_document(measurement: Measurement) -> dict[str, Any]:
    """Without the replicates: what they are for stands in the comparisons."""
    document = {**asdict(measurement), "at": dict(measurement.at)}
    del document["replicates"]
    return document


def _metric_documents(entries: Sequence[Entry]) -> dict[str, dict[str, Any]]:
    """Unit, direction and title by eval and metric; what we computed describes itself before what was published."""
    metrics: dict[str, dict[str, Any]] = {}
    for entry in entries:
        for spec in entry.specs:
            about = {"unit": spec.unit, "direction": spec.direction, "title": spec.title}
            metrics.setdefault(entry.eval_name, {}).setdefault(spec.name, about)
    return metrics
