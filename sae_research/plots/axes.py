"""One panel drawn into one coordinate system."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from sae_research.plots.points import Panel, Point
from sae_research.plots.scale import Scale, edge_levels
from sae_research.plots.style import Style, marker_look
from sae_research.results.numbers import shown

_GREY = "#999999"
_TEXT_WIDTH = 0.2
"""The width of a marker with its value in shares of the axis."""
REFERENCE_LINES = ((0, (6, 3)), (0, (1.5, 2)))
Paint = Callable[[Point], Any]


def draw_panel(axes: Axes, panel: Panel, style: Style, scale: Scale, paint: Paint | None = None) -> None:
    """Lines, intervals, markers and reference levels of `panel`.

    `paint` gives the colour of a point's marker, by default its label's; lines then lose theirs.
    """
    if style.settings.connect:
        for curve in curves([point for point in panel.points if scale.shows(point.value)]):
            first = curve[0]
            axes.plot(
                [p.l0 for p in curve],
                [p.value for p in curve],
                color=_GREY if paint else style.colors[first.label],
                linestyle=style.lines[first.d_sae],
                linewidth=1.4,
                alpha=0.35 if first.source == "published" else 0.7,
                zorder=2,
            )
    levels = edge_levels(panel.points, scale, width=_text_width(_l0_limits([point.l0 for point in panel.points])))
    for point in panel.points:
        _draw_point(axes, point, style, paint, scale=scale, level=levels.get(point, 0))
    labels = list(dict.fromkeys(reference.label for reference in panel.references))
    for reference in panel.references:
        dashes = REFERENCE_LINES[labels.index(reference.label) % len(REFERENCE_LINES)]
        axes.axhline(reference.level, color="#555555", linestyle=dashes, linewidth=1.3, zorder=1.5)
    axes.set_title(panel.title)
    _scale_l0(axes, [point.l0 for point in panel.points])
    _scale_metric(axes, scale)


def curves(points: Sequence[Point]) -> list[list[Point]]:
    """The points to join: one source, label and width, by rising L0; those that interpolate stand alone."""
    groups: dict[tuple[str, str, int | None], list[Point]] = {}
    for point in points:
        if point.interpolates != "most":
            groups.setdefault((point.source, point.label, point.d_sae), []).append(point)
    return [sorted(group, key=lambda p: (p.l0, p.value)) for group in groups.values() if len(group) > 1]


def _draw_point(axes: Axes, point: Point, style: Style, paint: Paint | None, *, scale: Scale, level: int) -> None:
    height = scale.clamp(point.value, level)
    color = paint(point) if paint else style.colors[point.label]
    marker = style.markers[point.label]
    if scale.shows(point.value):
        _draw_interval(axes, point, style, _GREY if paint else color)
    else:
        _write_value(axes, point, height)
    axes.plot(
        [point.l0],
        [height],
        marker=marker,
        markersize=style.marker_size(point.label),
        linestyle="none",
        zorder=4,
        **marker_look(
            color,
            point.interpolates,
            published=point.source == "published",
            rim="#444444" if paint else "white",
        ),
    )


def _draw_interval(axes: Axes, point: Point, style: Style, color: Any) -> None:
    if not style.settings.error_bars or point.low is None or point.high is None:
        return
    # An interval need not hold its value to the last digit: a bar never points backwards.
    below, above = max(point.value - point.low, 0.0), max(point.high - point.value, 0.0)
    axes.errorbar(
        [point.l0], [point.value], yerr=[[below], [above]],
        fmt="none", ecolor=color, elinewidth=1.1, capsize=2.5, alpha=0.8, zorder=2.5,
    )  # fmt: skip


def _write_value(axes: Axes, point: Point, height: float) -> None:
    """The value beside a marker that stands at the edge, at `height`, because it lies beyond it."""
    arrow = "↓" if point.value < height else "↑"
    axes.annotate(
        f"{shown(point.value, 2)} {arrow}",
        (point.l0, height),
        xytext=(9, 0),
        textcoords="offset points",
        va="center",
        fontsize="small",
        color="#555555",
    )


def _scale_l0(axes: Axes, values: Sequence[float]) -> None:
    """A logarithmic axis with a tick at 1, 2, 5 of each decade, at least a factor of four wide."""
    axes.set_xscale("log")
    if values:
        axes.set_xlim(_l0_limits(values))
        wide = max(values) / min(values) > 200
        axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _l0_limits(values: Sequence[float]) -> tuple[float, float]:
    if not values:
        return 1.0, 4.0
    low, high = min(values), max(values)
    spare = max(2.0 / math.sqrt(high / low), 1.25)
    return low / spare, high * spare


def _text_width(limits: tuple[float, float]) -> float:
    """The factor in L0 that a marker with its value beside it takes up."""
    return (limits[1] / limits[0]) ** _TEXT_WIDTH


def _scale_metric(axes: Axes, scale: Scale) -> None:
    if scale.log:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylim(scale.low, scale.high)
