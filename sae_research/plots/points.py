"""What a picture shows, before anything is drawn: its panels and their points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sae_research.plots.settings import VisualizationSettings
from sae_research.results.figures import LOSS_RECOVERED, Figure
from sae_research.results.references import REFERENCES
from sae_research.results.rows import Interpolation, Row, Source, interpolation


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
    """The metric that colours the point, in pictures of loss recovered."""


@dataclass(frozen=True)
class Reference:
    """A level that the language model reaches by itself."""

    label: str
    level: float
    everywhere: bool
    """Whether it is the same in all panels of the picture."""


@dataclass(frozen=True)
class Panel:
    """One coordinate system: a metric at one place."""

    title: str
    points: tuple[Point, ...]
    references: tuple[Reference, ...] = ()
    hidden: tuple[str, ...] = ()
    """SAEs that have no place in it: L0 or the metric is missing, or L0 is 0."""


def find_panels(figure: Figure, rows: Sequence[Row], settings: VisualizationSettings) -> list[Panel]:
    """The panels of `figure`, one for each place of its metric that `settings` ask for; none if none was measured."""
    chosen = [row for row in rows if (row.eval, row.metric) == (figure.eval, figure.metric) and row.column is not None]
    places = _places(chosen, settings)
    heights = {row.identity: row for row in rows if row.metric == LOSS_RECOVERED and row.at == "{}"}
    panels = []
    for at in places:
        here = [row for row in chosen if row.at == at]
        if figure.kind == "metric":
            panels.append(_panel(here, [_point(row, row) for row in here], _references(rows, here[0])))
        else:
            panels.append(_panel(here, [_point(heights.get(row.identity), row, shade=row.value) for row in here]))
    return panels


def _places(rows: Sequence[Row], settings: VisualizationSettings) -> list[str]:
    """The places of `rows` in rising order, without those whose k or n the settings leave out."""
    wanted = {"k": settings.k_values, "n": settings.n_values}
    by_text = {row.at: row.place for row in rows}
    kept = {
        at: place
        for at, place in by_text.items()
        if all(not wanted.get(key) or value in wanted[key] for key, value in place.items())
    }
    return sorted(kept, key=lambda at: [(key, value) for key, value in sorted(kept[at].items())])


def _panel(here: Sequence[Row], points: Sequence[Point | None], references: tuple[Reference, ...] = ()) -> Panel:
    title = ", ".join(f"{key} = {value}" for key, value in here[0].place.items())
    hidden = tuple(row.sae for row, point in zip(here, points, strict=True) if point is None)
    return Panel(title, tuple(point for point in points if point is not None), references, hidden)


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
    """The model's own levels at the place of `example`; several where SAEs of several models are shown."""
    found: dict[tuple[str, float], Reference] = {}
    for metric in REFERENCES.get(example.metric or "", ()):
        for row in rows:
            if row.metric == metric and row.at in {"{}", example.at} and row.value is not None:
                label = row.title or metric
                found.setdefault((label, round(row.value, 6)), Reference(label, row.value, row.at == "{}"))
    return tuple(found.values())
