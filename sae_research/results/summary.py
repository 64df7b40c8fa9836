"""Summaries of the table: one record per SAE for plots, a few numbers for `dvc metrics`, everything in one JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

import numpy as np

from sae_research.results.devices import DeviceKind
from sae_research.results.latents import Latents
from sae_research.results.merge import Entry
from sae_research.results.rows import Row, interpolation

BY_ARCHITECTURE = ("l0", "ce_loss_increase")
"""The columns whose mean over an architecture (its label) stands in `metrics.json`: few, because each becomes a column
of `dvc exp show`."""

PROVENANCE = ("engine", "model", "site", "sae", "data", "seed", "code")
"""What a key is made of beside the settings: digests and revisions, for whoever wants to compute a number again."""

DENSITY_FROM = -6.0
"""log10 of the smallest density that a histogram of latents tells apart."""


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
    """One flat record per SAE, numbers as numbers: what `dvc plots` reads.

    All have the same keys, because DVC draws nothing of records that differ in them.
    """
    columns = dict.fromkeys(row.column for row in rows if row.column is not None)
    records = []
    for group in by_sae(rows).values():
        first = group[0]
        values = {row.column: row.value for row in group if row.column is not None}
        card = {name: getattr(first, name) for name in ("sae", "architecture", "label", "source", "d_sae")}
        records.append({**columns, **values, **card, "l0": first.l0, "interpolates": first.interpolates})
    return records


def summarize(rows: Sequence[Row]) -> dict[str, Any]:
    """`metrics.json`: the number of its columns does not depend on the number of SAEs.

    `best` leaves out SAEs that interpolate most of the text: their reconstruction is exact whatever they learned.
    """
    computed = [row for row in rows if row.source == "computed"]
    finished = {(row.identity, row.eval): row.metric is not None for row in computed}
    columns = [column for column, row in headline_columns(computed).items() if row.direction != "neither"]

    def measured(column: str, label: str | None = None) -> list[Row]:
        of_column = [row for row in computed if row.column == column and row.value is not None]
        return [row for row in of_column if label in (None, row.label)]

    return {
        "saes": len(by_sae(computed)),
        "cells": {"done": sum(finished.values()), "failed": len(finished) - sum(finished.values())},
        "best": {column: best_value(measured(column)) for column in columns},
        "mean": {column: _mean(measured(column)) for column in columns},
        "by_architecture": {
            label: {column: _mean(measured(column, label)) for column in BY_ARCHITECTURE}
            for label in sorted({row.label for row in computed})
        },
    }


def best_value(rows: Sequence[Row]) -> float | None:
    """The best number of one column, SAEs that interpolate most of the text left out; None where none is better."""
    values = [row.value for row in rows if row.value is not None and interpolation(row.interpolates) != "most"]
    if not values or rows[0].direction == "neither":
        return None
    return min(values) if rows[0].direction == "lower" else max(values)


def _mean(rows: Sequence[Row]) -> float | None:
    values = [row.value for row in rows if row.value is not None]
    return fmean(values) if values else None


def merged_document(
    entries: Sequence[Entry], rows: Sequence[Row], devices: Sequence[DeviceKind] = ()
) -> dict[str, Any]:
    """Everything in one JSON: the SAEs with their cards and measurements by eval, and what each metric is.

    And the kinds of device that computed it, where there are several.
    """
    cells: dict[tuple[str, str], list[Entry]] = {}
    metrics: dict[str, dict[str, dict[str, Any]]] = {}
    for entry in entries:
        cells.setdefault(entry.identity, []).append(entry)
        for spec in entry.specs:
            about = {"unit": spec.unit, "direction": spec.direction, "title": spec.title}
            # Entries that were computed come first: they describe a metric before published ones do.
            metrics.setdefault(entry.eval_name, {}).setdefault(spec.name, about)
    sparsity = {row.identity: (row.l0, row.interpolates) for row in rows}
    saes = [
        {
            "name": name,
            "source": source,
            "card": next((entry.result.sae for entry in group if entry.result is not None), {}),
            **dict(zip(("l0", "interpolates"), sparsity.get((source, name), (None, None)), strict=True)),
            "latent_density": next((_densities(entry.latents) for entry in group if entry.latents is not None), None),
            "evals": {entry.eval_name: _cell_document(entry) for entry in group},
        }
        for (source, name), group in cells.items()
    ]
    return {"saes": saes, "metrics": metrics, **({"devices": list(map(asdict, devices))} if devices else {})}


def _densities(latents: Latents) -> dict[str, Any]:
    """How many latents fire on which share of the text: counts in bins of a quarter of a decade, and silent ones."""
    density = latents.density[latents.density > 0]
    edges = np.arange(DENSITY_FROM, 0.001, 0.25)
    counts, _ = np.histogram(np.log10(density).clip(DENSITY_FROM, -1e-9), edges)
    return {"log10_edges": edges.tolist(), "counts": counts.tolist(), "silent": int((latents.density == 0).sum())}


def _cell_document(entry: Entry) -> Mapping[str, Any]:
    """Without the measurements' replicates, which have a table of their own."""
    if entry.result is None:
        return {"state": "failed", "reason": entry.reason}
    measurements = [{**asdict(m), "at": dict(m.at)} for m in entry.result.output.measurements]
    parts = entry.result.key_parts
    return {
        "state": "done",
        "key": entry.result.key or None,
        "settings": entry.result.settings,
        "provenance": {name: parts[name] for name in PROVENANCE if name in parts},
        "versions": dict(entry.result.versions),
        "measurements": [{k: v for k, v in m.items() if k != "replicates"} for m in measurements],
    }
