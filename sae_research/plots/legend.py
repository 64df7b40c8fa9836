"""The legend beside a picture: what every colour, marker, line and filling means."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from matplotlib.figure import Figure as MplFigure
from matplotlib.lines import Line2D

from sae_research.plots.axes import REFERENCE_LINES, curves
from sae_research.plots.points import Panel, Point, reference_labels
from sae_research.plots.scale import Scale
from sae_research.plots.settings import DEFAULT_COLORS
from sae_research.plots.style import NAMES, Style, marker_look

_CHARACTERS = 30
_GREY = "#555555"
_ROOM_BETWEEN = 0.7
"""Between entries, in lines."""


def legend_entries(panels: Sequence[Panel], style: Style, scale: Scale, *, colored: bool) -> list[Line2D]:
    """What there is to explain; `colored` says that a label's colour is its markers' colour."""
    points = [point for panel in panels for point in panel.points]
    return [
        *_kinds(points, style, colored=colored),
        *_widths(panels, style),
        *_fillings(points),
        *_references(panels),
        *_remarks(panels, scale),
    ]


def legend_height(entries: Sequence[Line2D], style: Style) -> float:
    """How high the legend will be, in inches: a picture must be no lower, or the legend would be cut off."""
    lines = sum(str(entry.get_label()).count("\n") + 1 + _ROOM_BETWEEN for entry in entries)
    return (lines + 2) * _font_size(style) * 1.2 / 72


def add_legend(figure: MplFigure, entries: Sequence[Line2D], style: Style) -> None:
    """Puts the legend right of all panels."""
    if entries:
        figure.legend(
            handles=entries,
            loc="outside right upper",
            handlelength=2.2,
            labelspacing=_ROOM_BETWEEN,
            alignment="left",
            fontsize=_font_size(style),
        )


def _font_size(style: Style) -> float:
    return style.settings.font_size - 1.5


def _label(text: str) -> str:
    return textwrap.fill(text, _CHARACTERS)


def _kinds(points: Sequence[Point], style: Style, *, colored: bool) -> Iterator[Line2D]:
    order = {name: index for index, name in enumerate(DEFAULT_COLORS)}
    kinds = {(point.label, point.source) for point in points}
    for label, source in sorted(kinds, key=lambda kind: (order.get(kind[0], len(order)), *kind)):
        name = NAMES.get(label, label)
        published = source == "published"
        color: Any = style.colors[label] if colored else "#999999"
        yield Line2D(
            [],
            [],
            marker=style.markers[label],
            markersize=style.marker_size(label),
            linestyle="-" if colored and style.settings.connect else "none",
            label=_label(f"{name}, published" if published else name),
            **marker_look(color, "no", published=published),
        )


def _widths(panels: Sequence[Panel], style: Style) -> Iterator[Line2D]:
    """Lines by width, where lines of several widths are there to tell apart."""
    widths = sorted(
        {curve[0].d_sae for panel in panels for curve in curves(panel.points)}, key=lambda width: width or 0
    )
    if len(widths) > 1 and style.settings.connect:
        for width in widths:
            label = "d_sae unknown" if width is None else f"d_sae = {width:,}"
            yield Line2D([], [], color=_GREY, linestyle=style.lines[width], label=label)


def _fillings(points: Sequence[Point]) -> Iterator[Line2D]:
    meanings = {
        "most": "hollow: interpolates. The support of most sequences has d_in latents or more; "
        "reconstruction is then exact and says nothing",
        "some": "half filled: interpolates some of the sequences",
    }
    present = {point.interpolates for point in points}
    for kind, meaning in meanings.items():
        if kind in present:
            look = marker_look(_GREY, kind, published=False)  # type: ignore[arg-type]
            yield Line2D([], [], marker="o", markersize=9, linestyle="none", label=_label(meaning), **look)


def _references(panels: Sequence[Panel]) -> Iterator[Line2D]:
    for index, label in enumerate(reference_labels(panels)):
        yield Line2D([], [], label=_label(label), **REFERENCE_LINES[index % len(REFERENCE_LINES)])


def _remarks(panels: Sequence[Panel], scale: Scale) -> Iterator[Line2D]:
    if any(not scale.shows(point.value) for panel in panels for point in panel.points):
        yield Line2D([], [], linestyle="none", label=_label("↓ ↑ a number: beyond the end of the axis"))
    names = sorted({name for panel in panels for name in panel.hidden})
    if names:
        listed = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        yield Line2D([], [], linestyle="none", label=_label(f"not shown (L0 or metric missing or 0): {listed}"))
