"""What a picture shows, before anything is drawn: its panels and their points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sae_research.plots.settings import VisualizationSettings
from sae_research.results.figures import LOSS, Figure, is_part
from sae_research.results.references import baselines, references
from sae_research.results.rows import Interpolation, Row, Source, interpolation, site_of, sites_apart


@dataclass(frozen=True)
class Point:
    """One SAE in a panel."""

    sae: str
    label: str
    source: Source
    d_sae: int | None
    l0: float
    value: float
    low: float | None
    high: float | None
    interpolates: Interpolation
    shade: float | None = None
    """The metric that colours the point, in pictures of the loss."""


@dataclass(frozen=True)
class Reference:
    """A level that the language model reaches by itself."""

    label: str
    level: float
    everywhere: bool
    """Whether it is the same in all panels of the picture."""
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Panel:
    """One coordinate system: a metric at one place."""

    title: str
    points: tuple[Point, ...]
    references: tuple[Reference, ...] = ()
    hidden: tuple[str, ...] = ()
    """SAEs that have no place in it: L0 or the metric is missing, or L0 is 0."""


def reference_labels(panels: Sequence[Panel]) -> list[str]:
    """The labels of all reference levels of a picture."""
    return list(dict.fromkeys(reference.label for panel in panels for reference in panel.references))


def find_panels(figure: Figure, rows: Sequence[Row], settings: VisualizationSettings) -> list[Panel]:
    """The panels of `figure`, one for each place of its metric that `settings` ask for; none if none was measured."""
    wanted = {"k": settings.k_values, "n": settings.n_values}
    places = {
        row.at: row.place
        for row in rows
        if _belongs(row, figure)
        and all(not wanted.get(key) or value in wanted[key] for key, value in row.place.items())
    }
    order = figure.parts.places if figure.parts else ()
    rising = sorted(places, key=lambda at: [places[at][key] for key in order or sorted(places[at])])
    return [panel_at(figure, of_site, at, site) for at in rising for site, of_site in by_site(rows, figure, at)]


def by_site(rows: Sequence[Row], figure: Figure, at: str) -> list[tuple[str, Sequence[Row]]]:
    """The rows of each site that has a number of the figure at this place; where there is one site, '' and all rows."""
    sites = sites_apart(rows)
    groups = [(site, [row for row in rows if site_of(row) == site]) for site in sites] or [("", rows)]
    return [(site, group) for site, group in groups if any(row.at == at and _belongs(row, figure) for row in group)]


def panel_at(figure: Figure, rows: Sequence[Row], at: str, site: str = "") -> Panel:
    """The panel of `figure` at the place `at`, as rows write it; `site` is that of all rows, where there are others."""
    here = [row for row in rows if row.at == at and _belongs(row, figure)]
    place = here[0].place
    title = ", ".join(f"{key} = {value}" for key, value in place.items())
    if figure.parts is not None:
        title = ": ".join(str(place[key]) for key in figure.parts.places)
    title = ", ".join(filter(None, [title, site]))
    levels: tuple[Reference, ...] = ()
    if figure.kind == "loss":
        heights = {row.identity: row for row in rows if row.metric == LOSS and row.at == "{}"}
        points = [_point(heights.get(row.identity), row, shade=row.value) for row in here]
    else:
        points = [_point(row, row) for row in here]
        levels = _references(rows, here[0])
    hidden = tuple(row.sae for row, point in zip(here, points, strict=True) if point is None)
    return Panel(title, tuple(point for point in points if point is not None), levels, hidden)


def _belongs(row: Row, figure: Figure) -> bool:
    """Whether `row` is a number that the panels of `figure` show."""
    if figure.parts is not None:
        return is_part(row, figure.eval, figure.metric, figure.parts.places)
    return (row.eval, row.metric) == (figure.eval, figure.metric) and row.column is not None


def _point(height: Row | None, row: Row, **shade: Any) -> Point | None:
    """The SAE of `row` at the value of `height`; None where it has no place in a picture with a logarithmic L0."""
    if height is None or height.value is None or row.value is None or row.l0 is None or row.l0 <= 0:
        return None
    return Point(
        sae=row.sae,
        label=row.label,
        source=row.source,
        d_sae=row.d_sae,
        l0=row.l0,
        value=height.value,
        low=height.ci_low,
        high=height.ci_high,
        interpolates=interpolation(row.interpolates),
        **shade,
    )


def _references(rows: Sequence[Row], example: Row) -> tuple[Reference, ...]:
    """The levels without an SAE at the place of `example`; several where SAEs of several models are shown.

    Where one was measured at this very place, its level over all places is left out.
    """
    metrics = references().get(example.metric or "", ())
    order = [*baselines()]

    def rank(row: Row) -> tuple[int, int]:
        baseline = row.place.get("baseline")
        return metrics.index(row.metric or ""), order.index(baseline) if baseline in order else len(order)

    here: dict[tuple[str, float], Reference] = {}
    overall: dict[tuple[str, float], Reference] = {}
    for row in sorted((row for row in rows if row.metric in metrics and row.value is not None), key=rank):
        place = row.place
        baseline = baselines().get(str(place.pop("baseline", "")))
        label = baseline.title if baseline else row.title or str(row.metric)
        if place in ({}, example.place):
            levels = here if place else overall
            level = Reference(label, row.value or 0.0, not place, row.ci_low, row.ci_high)
            levels.setdefault((label, round(level.level, 6)), level)
    labels_here = {reference.label for reference in here.values()}
    return (*(r for r in overall.values() if r.label not in labels_here), *here.values())
