"""What a picture shows, before anything is drawn: its panels and their points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sae_research.evals.registry import eval_names, find_eval
from sae_research.plots.settings import VisualizationSettings
from sae_research.results.figures import LOSS, Figure, belongs
from sae_research.results.references import baselines, references
from sae_research.results.rows import Interpolation, Row, Source, interpolation
from sae_research.results.sites import at_site, depth_of, sites_of


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
    """The panels of `figure`, one for each place of its metric that `settings` ask for; none if none was measured.

    SAEs of several sites have a panel for each site. A figure without parts then shows one place of its metric.
    """
    places = panel_places(figure, rows, settings)
    sites = sites_of(row for row in rows if belongs(row, figure))
    if len(sites) < 2:
        return [panel_at(figure, rows, at) for at in places]
    if figure.parts is None:
        places = [main_place(figure, rows, places)] if places else []
    by_site = {site: at_site(rows, site) for site in sites}
    return [
        replace(panel, title=", ".join(filter(None, (panel.title, site))))
        for at in places
        for site, of_site in by_site.items()
        if any(row.at == at and belongs(row, figure) for row in of_site)
        for panel in [panel_at(figure, of_site, at)]
    ]


def panel_places(figure: Figure, rows: Sequence[Row], settings: VisualizationSettings) -> list[str]:
    """The places of the figure's metric that `settings` ask for, as rows write them, rising."""
    wanted = {"k": settings.k_values, "n": settings.n_values}
    places = {
        row.at: row.place
        for row in rows
        if belongs(row, figure) and all(not wanted.get(key) or value in wanted[key] for key, value in row.place.items())
    }
    order = figure.parts.places if figure.parts else ()
    return sorted(places, key=lambda at: [places[at][key] for key in order or sorted(places[at])])


def main_place(figure: Figure, rows: Sequence[Row], places: Sequence[str]) -> str:
    """Of `places` the one nearest to that which the report's main table shows; the first where it shows none."""
    declared = find_eval(figure.eval).main_columns if figure.eval in eval_names() else {}
    wanted = declared.get(figure.metric, {})
    place_of = {row.at: row.place for row in rows if row.at in places}
    return min(places, key=lambda at: sum(abs(place_of[at].get(k, v) - v) for k, v in wanted.items()))


def panel_title(figure: Figure, example: Row) -> str:
    """What a panel with the place of `example` is called."""
    if figure.parts is not None:
        return ": ".join(str(example.place[key]) for key in figure.parts.places)
    return ", ".join(f"{key} = {value}" for key, value in example.place.items())


def panel_at(figure: Figure, rows: Sequence[Row], at: str) -> Panel:
    """The panel of `figure` at the place `at`, as rows write it."""
    here = [row for row in rows if row.at == at and belongs(row, figure)]
    levels: tuple[Reference, ...] = ()
    if figure.kind == "loss":
        heights = {row.identity: row for row in rows if row.metric == LOSS and row.at == "{}"}
        points = [_point(heights.get(row.identity), row, shade=row.value) for row in here]
    else:
        points = [_point(row, row) for row in here]
        levels = _references(rows, here[0])
    hidden = tuple(row.sae for row, point in zip(here, points, strict=True) if point is None)
    return Panel(panel_title(figure, here[0]), tuple(point for point in points if point is not None), levels, hidden)


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
    levels: dict[tuple[str, float], Reference] = {}
    for label, of_label in reference_rows(rows, example).items():
        for row in of_label:
            everywhere = not (row.place.keys() - {"baseline"})
            level = Reference(label, row.value or 0.0, everywhere, row.ci_low, row.ci_high)
            levels.setdefault((label, round(level.level, 6)), level)
    return tuple(sorted(levels.values(), key=lambda level: not level.everywhere))


def reference_rows(rows: Sequence[Row], example: Row) -> dict[str, list[Row]]:
    """By label what was measured without an SAE at the place of `example`, by depth.

    Where one was measured at this very place, what it has over all places is left out.
    """
    metrics = references().get(example.metric or "", ())
    order = [*baselines()]

    def rank(row: Row) -> tuple[int, int, float]:
        baseline = row.place.get("baseline")
        place = order.index(baseline) if baseline in order else len(order)
        return metrics.index(row.metric or ""), place, depth_of(row.hook_name)

    here: dict[str, list[Row]] = {}
    overall: dict[str, list[Row]] = {}
    for row in sorted((row for row in rows if row.metric in metrics and row.value is not None), key=rank):
        place = row.place
        baseline = baselines().get(str(place.pop("baseline", "")))
        label = baseline.title if baseline else row.title or str(row.metric)
        if place in ({}, example.place):
            (here if place else overall).setdefault(label, []).append(row)
    return {**{label: levels for label, levels in overall.items() if label not in here}, **here}
