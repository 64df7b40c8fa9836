"""What stands in the page itself: runs, SAEs, columns with their numbers, levels to compare with, looks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sae_research.evals.registry import all_evals
from sae_research.page.fleet import FleetMember, about_members
from sae_research.page.levels import Level, about_levels
from sae_research.page.numbers import numbers_of
from sae_research.page.run import Run
from sae_research.plots.settings import VisualizationSettings
from sae_research.plots.style import about_label, find_style
from sae_research.results.leaders import main_columns
from sae_research.results.pairing import tested_together
from sae_research.results.panels import TRAINED
from sae_research.results.rows import Row
from sae_research.results.verdicts import MEANINGS, SIGNS, as_list

FORMAT = 1
L0 = ("core", "l0")


def columns_of_rows(rows: Sequence[Row]) -> dict[tuple[str, str], Row]:
    """Every column by eval and name, with one of its rows."""
    columns: dict[tuple[str, str], Row] = {}
    for row in rows:
        if row.column is not None and row.metric is not None:
            columns.setdefault((row.eval, row.column), row)
    return columns


def columns_at_once(columns: Mapping[tuple[str, str], Row]) -> dict[tuple[str, str], Row]:
    """Those whose numbers stand in the page itself, which come first in it."""
    return {key: row for key, row in columns.items() if row.headline or key == L0}


def index_document(
    runs: Sequence[Run], fleet: Sequence[FleetMember], levels: Sequence[Level], settings: VisualizationSettings
) -> dict[str, Any]:
    """The page's own data; the numbers are those of the columns that the report has, and L0."""
    rows = [row for run in runs for row in run.rows]
    columns = columns_of_rows(rows)
    at_once = columns_at_once(columns)
    by_line = [(row.eval, row.metric or "", row.at) for row in at_once.values()]
    main = {(row.eval, column) for run in runs for column, row in main_columns(run.rows).items()}
    verdicts = {(a.eval, a.column): as_list(a.verdicts) for run in runs for a in run.audits if a.panel == TRAINED}
    return {
        "format": FORMAT,
        "runs": [run.name for run in runs],
        "saes": about_members(runs, fleet),
        "columns": [
            {
                "eval": row.eval,
                "column": column,
                "metric": row.metric,
                "at": row.place,
                "title": row.title or row.metric,
                "unit": row.unit or "",
                "direction": row.direction or "neither",
                "headline": row.headline,
                "main": (row.eval, column) in main,
                "verdicts": list(verdicts.get((row.eval, column), ())),
            }
            for (_, column), row in sorted(columns.items(), key=lambda item: item[0] not in at_once)
        ],
        "numbers": numbers_of(fleet, by_line).packed(),
        "levels": list(about_levels(levels, fleet)),
        "labels": _labels(rows, settings),
        "parts": list(_parts(rows)),
        "opposed": list(_opposed(columns)),
        "verdicts": {verdict: {"sign": SIGNS.get(verdict, ""), "meaning": text} for verdict, text in MEANINGS.items()},
        "tested": {
            name: tested_together([run.columns for run in runs], headline=headline)._asdict()
            for name, headline in (("headline", True), ("other", False))
        },
        "not_in_intervals": {e.name: e.not_in_intervals for e in all_evals() if e.not_in_intervals},
    }


def _labels(rows: Sequence[Row], settings: VisualizationSettings) -> list[dict[str, str]]:
    """How each label looks, as in the pictures; in the order of legends."""
    style = find_style(rows, settings)
    looks = {label: about_label(label) for label in style.markers}
    order = sorted(looks, key=lambda label: (looks[label].place is None, looks[label].place or 0, label))
    return [
        {
            "label": label,
            "title": looks[label].title or label,
            "marker": style.markers[label],
            "color": _hex(style.colors[label]),
        }
        for label in order
    ]


def _hex(color: str) -> str:
    """Matplotlib's names of colours are not those of browsers."""
    from matplotlib.colors import to_hex

    return to_hex(color)


def _parts(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Metrics that were measured at several places, those first whose pictures the evals declare."""
    declared = {
        (e.name, figure.metric, tuple(sorted(figure.places))): figure
        for e in all_evals()
        for figure in e.figures
        if figure.kind != "against"
    }
    places: dict[tuple[str, str, tuple[str, ...]], dict[str, Row]] = {}
    for row in rows:
        if row.metric is not None and row.value is not None and row.at != "{}":
            places.setdefault((row.eval, row.metric, tuple(sorted(row.place))), {}).setdefault(row.at, row)
    several = {key: next(iter(at.values())) for key, at in places.items() if len(at) > 1}
    for key in sorted(several, key=lambda key: (key not in declared, key[0], list(several).index(key))):
        figure, example = declared.get(key), several[key]
        yield {
            "eval": key[0], "metric": key[1], "title": example.title or key[1], "unit": example.unit or "",
            "direction": example.direction or "neither", "places": list(figure.places if figure else key[2]),
            "caption": figure.caption if figure else "", "axis": figure.axis if figure else "",
        }  # fmt: skip


def _opposed(columns: Mapping[tuple[str, str], Row]) -> Iterator[dict[str, Any]]:
    """Columns that an eval sets against each other, where equal numbers mean something."""
    at_place = {(row.eval, row.metric, row.at): column for (_, column), row in columns.items()}
    for evaluated in all_evals():
        for figure in evaluated.figures:
            for eval_name, metric, at in at_place if figure.kind == "against" else ():
                other = at_place.get((eval_name, figure.against, at))
                if (eval_name, metric) == (evaluated.name, figure.metric) and other is not None:
                    yield {
                        "caption": figure.caption, "at": json.loads(at),
                        "x": f"{eval_name}.{other}", "y": f"{eval_name}.{at_place[eval_name, metric, at]}",
                    }  # fmt: skip
