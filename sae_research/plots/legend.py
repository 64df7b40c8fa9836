"""The legend beside a picture: what every colour, marker, line and filling means."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from matplotlib.figure import Figure as MplFigure
from matplotlib.lines import Line2D

from sae_research.plots.axes import REFERENCE_LINES
from sae_research.plots.points import Panel, Point
from sae_research.plots.style import NAMES, Style, marker_look

_WIDTH = 27
_GREY = "#555555"


def add_legend(figure: MplFigure, panels: Sequence[Panel], style: Style, *, colored: bool) -> None:
    """Puts the legend right of all panels; `colored` says that an architecture's colour is its markers' colour."""
    points = [point for panel in panels for point in panel.points]
    handles = [
        *_architectures(points, style, colored=colored),
        *_widths(points, style),
        *_fillings(points),
        *_references(panels),
        *_hidden(panels),
    ]
    if handles:
        figure.legend(handles=handles, loc="outside right upper", handlelength=2.2, labelspacing=0.75, alignment="left")


def _label(text: str) -> str:
    return textwrap.fill(text, _WIDTH)


def _architectures(points: Sequence[Point], style: Style, *, colored: bool) -> Iterator[Line2D]:
    kinds = sorted({(point.architecture, point.source) for point in points})
    for architecture, source in kinds:
        name = NAMES.get(architecture, architecture)
        published = source == "published"
        color: Any = style.colors[architecture]
        look = marker_look(color if colored else "#999999", "no", published=published)
        yield Line2D(
            [], [], marker=style.markers[architecture], markersize=style.settings.marker_size,
            linestyle="-" if colored and style.settings.connect else "none",
            label=_label(f"{name}, published" if published else name), **look,
        )  # fmt: skip


def _widths(points: Sequence[Point], style: Style) -> Iterator[Line2D]:
    """Lines by width, where there are several and lines to tell apart."""
    widths = sorted({point.d_sae for point in points if point.d_sae is not None})
    if len(widths) > 1 and style.settings.connect:
        for width in widths:
            yield Line2D([], [], color=_GREY, linestyle=style.lines[width], label=f"d_sae = {width:,}")


def _fillings(points: Sequence[Point]) -> Iterator[Line2D]:
    meanings = {
        "most": "hollow: support ≥ d_in on most sequences, so the fit interpolates and says nothing",
        "some": "half filled: it interpolates on some sequences",
    }
    present = {point.interpolates for point in points}
    for kind, meaning in meanings.items():
        if kind in present:
            look = marker_look(_GREY, kind, published=False)  # type: ignore[arg-type]
            yield Line2D([], [], marker="o", markersize=8, linestyle="none", label=_label(meaning), **look)


def _references(panels: Sequence[Panel]) -> Iterator[Line2D]:
    labels = list(dict.fromkeys(reference.label for panel in panels for reference in panel.references))
    for index, label in enumerate(labels):
        dashes = REFERENCE_LINES[index % len(REFERENCE_LINES)]
        yield Line2D([], [], color=_GREY, linestyle=dashes, linewidth=1.3, label=_label(label))


def _hidden(panels: Sequence[Panel]) -> Iterator[Line2D]:
    names = sorted({name for panel in panels for name in panel.hidden})
    if names:
        listed = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        yield Line2D([], [], linestyle="none", label=_label(f"not shown, L0 or metric missing or 0: {listed}"))
