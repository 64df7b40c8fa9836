"""The legend of a picture: what every colour, marker, line and filling means."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from matplotlib.figure import Figure as MplFigure
from matplotlib.lines import Line2D

from sae_research.plots.axes import REFERENCE_LINES, curves
from sae_research.plots.labels import label_rank, label_text
from sae_research.plots.points import Panel, Point, reference_labels
from sae_research.plots.scale import Scale
from sae_research.plots.style import Style, marker_look

_GREY = "#555555"
_ROOM_BETWEEN = 0.7
"""Between entries, in lines."""
_FILLINGS = {
    "most": "hollow: interpolates. The support of most sequences has d_in latents or more; "
    "reconstruction is then exact and says nothing",
    "some": "half filled: interpolates some of the sequences",
}


def legend_entries(
    panels: Sequence[Panel], style: Style, scales: Sequence[Scale], *, colored: bool, characters: int = 30
) -> list[Line2D]:
    """An entry for everything that needs explaining, wrapped at `characters`; `scales` has one scale per panel.

    `colored` says that markers have the colour of their label.
    """
    points = [point for panel in panels for point in panel.points]
    entries = [
        *_kinds(points, style, colored=colored),
        *_widths(panels, style),
        *_fillings(points),
        *(
            Line2D([], [], label=label, **REFERENCE_LINES[index % len(REFERENCE_LINES)])
            for index, label in enumerate(reference_labels(panels))
        ),
        *_remarks(panels, scales),
    ]
    for entry in entries:
        entry.set_label(textwrap.fill(str(entry.get_label()), characters))
    return entries


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


def _kinds(points: Sequence[Point], style: Style, *, colored: bool) -> Iterator[Line2D]:
    kinds = {(point.label, point.source) for point in points}
    for label, source in sorted(kinds, key=lambda kind: (label_rank(kind[0]), kind[1])):
        color: Any = style.colors[label] if colored else "#999999"
        yield Line2D(
            [],
            [],
            marker=style.markers[label],
            markersize=style.marker_size(label),
            linestyle="-" if colored and style.settings.connect else "none",
            label=label_text(label, source),
            **marker_look(color, "no", published=source == "published"),
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
    present = {point.interpolates for point in points}
    for kind, meaning in _FILLINGS.items():
        if kind in present:
            look = marker_look(_GREY, kind, published=False)  # type: ignore[arg-type]
            yield Line2D([], [], marker="o", markersize=9, linestyle="none", label=meaning, **look)


def _remarks(panels: Sequence[Panel], scales: Sequence[Scale]) -> Iterator[Line2D]:
    if any(not scale.shows(p.value) for panel, scale in zip(panels, scales, strict=True) for p in panel.points):
        yield Line2D([], [], linestyle="none", label="↓ ↑ a number: beyond the end of the axis")
    names = sorted({name for panel in panels for name in panel.hidden})
    if names:
        listed = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        yield Line2D([], [], linestyle="none", label=f"not shown (L0 or metric missing or 0): {listed}")
