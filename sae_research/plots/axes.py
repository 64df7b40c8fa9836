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
"""The width of a marker with its value, as a share of the axis."""
_REFERENCE_STEP = 0.012
"""Between the intervals of reference levels, as a share of the axis."""
REFERENCE_LINES: tuple[dict[str, Any], ...] = tuple(
    {"linestyle": (0, dashes), "color": color, "linewidth": 1.3}
    for dashes, color in (
        ((6, 3), "#555555"),
        ((1.5, 2), "#555555"),
        ((6, 2, 1, 2), "#aa7733"),
        ((3, 2), "#3366aa"),
        ((8, 2), "#886699"),
        ((1, 3), "#bb4455"),
        ((4, 2, 1, 2, 1, 2), "#558855"),
    )
)
"""The look of each kind of reference level, in the order of the legend."""
Paint = Callable[[Point], Any]


def draw_panel(
    axes: Axes, panel: Panel, style: Style, scale: Scale, paint: Paint | None = None, *, levels: Sequence[str] = ()
) -> None:
    """Lines, intervals, markers and reference levels of `panel`.

    `paint` gives the colour of a point's marker, by default its label's; lines then lose theirs. `levels` are the
    labels of all reference levels of the picture, in the legend's order.
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
    left, right = _l0_limits([point.l0 for point in panel.points])
    levels_at_edge = edge_levels(panel.points, scale, width=(right / left) ** _TEXT_WIDTH)
    _draw_intervals(axes, [point for point in panel.points if scale.shows(point.value)], style, paint)
    for point in panel.points:
        _draw_point(axes, point, style, paint, scale=scale, level=levels_at_edge.get(point, 0))
    _draw_references(axes, panel, levels, intervals=style.settings.error_bars)
    axes.set_title(panel.title)
    _scale_l0(axes, [point.l0 for point in panel.points])
    if scale.log:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylim(scale.low, scale.high)


def _draw_references(axes: Axes, panel: Panel, levels: Sequence[str], *, intervals: bool) -> None:
    """A line across for each reference level, and its interval near the right end, one beside the other."""
    for reference in panel.references:
        kind = levels.index(reference.label)
        look = REFERENCE_LINES[kind % len(REFERENCE_LINES)]
        axes.axhline(reference.level, zorder=1.5, **look)
        if intervals and reference.low is not None and reference.high is not None and reference.low < reference.high:
            place = 1 - _REFERENCE_STEP * (kind + 1)
            across = axes.get_yaxis_transform()
            bar = {"color": look["color"], "linewidth": 1.1, "alpha": 0.8, "zorder": 1.5, "transform": across}
            axes.vlines(place, reference.low, reference.high, **bar)


def curves(points: Sequence[Point]) -> list[list[Point]]:
    """The points to join: one source, label and width, by rising L0; those that interpolate stand alone."""
    groups: dict[tuple[str, str, int | None], list[Point]] = {}
    for point in points:
        if point.interpolates != "most":
            groups.setdefault((point.source, point.label, point.d_sae), []).append(point)
    return [sorted(group, key=lambda p: (p.l0, p.value)) for group in groups.values() if len(group) > 1]


def _draw_point(axes: Axes, point: Point, style: Style, paint: Paint | None, *, scale: Scale, level: int) -> None:
    """The marker; beyond the end of the axis it stands at its edge, with the value beside it."""
    height = scale.clamp(point.value, level)
    if not scale.shows(point.value):
        axes.annotate(
            f"{shown(point.value, 2)} {'↓' if point.value < height else '↑'}",
            (point.l0, height),
            xytext=(9, 0),
            textcoords="offset points",
            va="center",
            fontsize="small",
            color="#555555",
        )
    axes.plot(
        [point.l0],
        [height],
        marker=style.markers[point.label],
        markersize=style.marker_size(point.label),
        linestyle="none",
        zorder=4,
        **marker_look(
            paint(point) if paint else style.colors[point.label],
            point.interpolates,
            published=point.source == "published",
            rim="#444444" if paint else "white",
        ),
    )


def _draw_intervals(axes: Axes, points: Sequence[Point], style: Style, paint: Paint | None) -> None:
    """The points' intervals, those of a colour at once."""
    if not style.settings.error_bars:
        return
    groups: dict[Any, list[Point]] = {}
    for point in points:
        groups.setdefault(_GREY if paint else style.colors[point.label], []).append(point)
    for color, group in groups.items():
        draw_bars(axes, [(p.l0, p.value, p.low, p.high) for p in group], color)


Bar = tuple[float, float | None, float | None, float | None]
"""Where an interval stands, the value, and the ends."""


def draw_bars(axes: Axes, bars: Sequence[Bar], color: Any, *, horizontal: bool = False) -> None:
    """The intervals of those that have one; markers drawn over them hide what is smaller than a marker."""
    # Rounding can leave a value just outside its interval; a bar must not have a negative length.
    complete = [
        (x, value, max(value - low, 0.0), max(high - value, 0.0))
        for x, value, low, high in bars
        if value is not None and low is not None and high is not None
    ]
    if not complete:
        return
    xs, values, below, above = zip(*complete, strict=True)
    ends = {"xerr" if horizontal else "yerr": [below, above]}
    look: dict[str, Any] = {"elinewidth": 1.1, "capsize": 2.5, "alpha": 0.8, "zorder": 2.5, "ecolor": color}
    axes.errorbar(*((values, xs) if horizontal else (xs, values)), fmt="none", **ends, **look)


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
