"""A metric over one place, a line for one SAE of each architecture."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from sae_research.evals.base import PartsFigure
from sae_research.plots.axes import Bar, draw_bars
from sae_research.plots.choice import Chosen, choice_text, choose_saes
from sae_research.plots.labels import axis_label
from sae_research.plots.legend import add_legend, legend_height
from sae_research.plots.scale import without_outliers
from sae_research.plots.style import Style, marker_look
from sae_research.results.figures import Figure, is_part
from sae_research.results.rows import Row, interpolation

_SIZE = (7.0, 4.8)
_LEGEND_WIDTH = 3.1
_DODGE = 0.12
"""The width over which markers at one place are spread, as a share of the distance between two places."""


def draw_curve(figure: Figure, parts: PartsFigure, rows: Sequence[Row], style: Style) -> Any:
    """The picture; lines of SAEs that interpolate most of the text are dashed, their markers hollow."""
    (place,) = parts.places
    measured = [row for row in rows if is_part(row, figure.eval, figure.metric, parts.places)]
    chosen = choose_saes(measured)
    shown = [row for one in chosen for row in one.rows]
    entries = [line_entry(one, style) for one in chosen]
    drawing, axes = blank(figure.caption + choice_text(measured), legend_height(entries, style))
    places = sorted({row.place[place] for row in shown})
    for index, one in enumerate(chosen):
        shift = _DODGE * (index / (len(chosen) - 1) - 0.5) if len(chosen) > 1 else 0.0
        _draw_line(axes, one, style, [places.index(row.place[place]) + shift for row in one.rows])
    axes.xaxis.set_major_locator(FixedLocator(range(len(places))))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: str(places[round(at)])))
    axes.set_xlabel(parts.axis)
    axes.set_ylabel(axis_label(shown[0]))
    _limit(axes, shown)
    add_legend(drawing, entries, style)
    return drawing


def blank(caption: str, legend: float) -> tuple[Any, Axes]:
    """An empty picture with one coordinate system, high enough for a legend of `legend` inches."""
    from matplotlib.figure import Figure as MplFigure

    drawing = MplFigure(figsize=(_SIZE[0] + _LEGEND_WIDTH, max(_SIZE[1], legend)), layout="constrained")
    drawing.suptitle(textwrap.fill(caption, 80), x=0.02, ha="left")
    return drawing, drawing.subplots()


def _draw_line(axes: Axes, one: Chosen, style: Style, at: Sequence[float]) -> None:
    hollow = interpolation(one.rows[0].interpolates)
    color = style.colors[one.label]
    pairs = sorted(zip(at, one.rows, strict=True), key=lambda pair: pair[0])
    xs, ys = [x for x, _ in pairs], [float(row.value or 0.0) for _, row in pairs]
    faint = 0.4 if one.published else 0.8
    axes.plot(xs, ys, color=color, linewidth=1.4, alpha=faint, zorder=2, linestyle="--" if hollow == "most" else "-")
    if style.settings.error_bars:
        draw_bars(axes, [bar(x, row) for x, row in pairs], color)
    look = marker_look(color, hollow, published=one.published)
    axes.plot(
        xs, ys, linestyle="none", marker=style.markers[one.label], markersize=0.75 * style.marker_size(one.label),
        zorder=4, **look,
    )  # fmt: skip


def bar(at: float, row: Row) -> Bar:
    """The interval of `row` at a place of the axis."""
    return at, row.value, row.ci_low, row.ci_high


def line_entry(one: Chosen, style: Style) -> Line2D:
    """The legend's entry of an SAE's line."""
    color = style.colors[one.label]
    look = marker_look(color, interpolation(one.rows[0].interpolates), published=one.published)
    return Line2D(
        [], [], marker=style.markers[one.label], markersize=style.marker_size(one.label), linestyle="-",
        label=textwrap.fill(one.title, 30), **look,
    )  # fmt: skip


def _limit(axes: Axes, rows: Sequence[Row]) -> None:
    """Makes the axis as high as most of the numbers need."""
    values = without_outliers([row.value for row in rows if row.value is not None])
    near = [row for row in rows if row.value is not None and min(values) <= row.value <= max(values)]
    ends = [end for row in near for end in (row.value, row.ci_low, row.ci_high) if end is not None]
    spare = 0.06 * (max(ends) - min(ends)) or 0.05
    axes.set_ylim(min(ends) - spare, max(ends) + spare)
