"""One panel drawn into one coordinate system."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from sae_research.plots.points import Panel, Point
from sae_research.plots.style import Style, marker_look
from sae_research.results.numbers import shown

_GREY = "#999999"
REFERENCE_LINES = ((0, (6, 3)), (0, (1.5, 2)))
Paint = Callable[[Point], Any]


def draw_panel(axes: Axes, panel: Panel, style: Style, paint: Paint | None = None) -> None:
    """Lines, intervals, markers and reference levels of `panel`.

    `paint` gives the colour of a point's marker, by default its architecture's; lines then lose theirs.
    """
    if style.settings.connect:
        for curve in curves(panel.points):
            first = curve[0]
            axes.plot(
                [p.l0 for p in curve],
                [p.value for p in curve],
                color=_GREY if paint else style.colors[first.architecture],
                linestyle=style.lines[first.d_sae],
                linewidth=1.4,
                alpha=0.35 if first.source == "published" else 0.7,
                zorder=2,
            )
    for point in panel.points:
        _draw_point(axes, point, style, paint)
    labels = list(dict.fromkeys(reference.label for reference in panel.references))
    for reference in panel.references:
        dashes = REFERENCE_LINES[labels.index(reference.label) % len(REFERENCE_LINES)]
        axes.axhline(reference.level, color="#555555", linestyle=dashes, linewidth=1.3, zorder=1.5)
    axes.set_title(panel.title)
    _scale_l0(axes, [point.l0 for point in panel.points])


def curves(points: Sequence[Point]) -> list[list[Point]]:
    """The points to join: one source, architecture and width, by rising L0; those that interpolate stand alone."""
    groups: dict[tuple[str, str, int | None], list[Point]] = {}
    for point in points:
        if point.interpolates != "most":
            groups.setdefault((point.source, point.architecture, point.d_sae), []).append(point)
    return [sorted(group, key=lambda p: (p.l0, p.value)) for group in groups.values() if len(group) > 1]


def _draw_point(axes: Axes, point: Point, style: Style, paint: Paint | None) -> None:
    color = paint(point) if paint else style.colors[point.architecture]
    bar_color = _GREY if paint else color
    if style.settings.error_bars and point.low is not None and point.high is not None:
        # An interval need not hold its value to the last digit: a bar never points backwards.
        below, above = max(point.value - point.low, 0.0), max(point.high - point.value, 0.0)
        axes.errorbar(
            [point.l0], [point.value], yerr=[[below], [above]],
            fmt="none", ecolor=bar_color, elinewidth=1.1, capsize=2.5, alpha=0.8, zorder=2.5,
        )  # fmt: skip
    look = marker_look(color, point.interpolates, published=point.source == "published")
    size = style.settings.marker_size * (1.35 if style.markers[point.architecture] == "*" else 1.0)
    axes.plot(
        [point.l0], [point.value], marker=style.markers[point.architecture], markersize=size, linestyle="none",
        zorder=4, **look,
    )  # fmt: skip


def _scale_l0(axes: Axes, values: Sequence[float]) -> None:
    """A logarithmic axis with a tick at 1, 2, 5 of each decade, at least a factor of four wide."""
    axes.set_xscale("log")
    if values:
        low, high = min(values), max(values)
        spare = max(2.0 / math.sqrt(high / low), 1.25)
        axes.set_xlim(low / spare, high * spare)
        wide = high / low > 200
        axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def scale_metric(axes: Axes, panels: Sequence[Panel], direction: str | None) -> None:
    """A logarithmic axis for errors that span decades; otherwise some room above and below."""
    values = [point.value for panel in panels for point in panel.points]
    if values and direction == "lower" and min(values) > 0 and max(values) / min(values) > 30:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value)))
        return
    axes.margins(y=0.12)
