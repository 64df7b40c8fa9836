"""Colour, marker and line of every SAE in a picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Literal

from sae_research.plots.settings import MARKERS, VisualizationSettings, check_look
from sae_research.results.rows import Interpolation, Row
from sae_research.saes.about import About
from sae_research.saes.registry import about

LABELS: Mapping[str, About] = {
    "matryoshka": About(title="Matryoshka", marker="h", color="#8c564b", place=60),
    "p_anneal": About(title="P-anneal", color="#999933", place=70),
    "random": About(title="Random", marker=">", color="#aaaaaa", place=150),
}
"""Labels that stand for a way of training rather than for an architecture."""

SPARE_COLORS = ("#44aa99", "#ddcc77", "#88ccee", "#cc6677", "#117733", "#aa4499")
"""For labels without a colour of their own, in the order of their names."""

Line = Literal["-", "--", ":", "-."]
LINES: tuple[Line, ...] = ("-", "--", ":", "-.")
GRID = "#dddddd"
TEXT = "#222222"


@dataclass(frozen=True)
class Style:
    """The look of every label and width of a table, the same in all of its pictures."""

    markers: Mapping[str, str]
    colors: Mapping[str, str]
    lines: Mapping[int | None, Line]
    settings: VisualizationSettings

    def marker_size(self, label: str) -> float:
        """In points; a star looks as large as the others only when it is larger."""
        return self.settings.marker_size * (1.5 if self.markers[label] == "*" else 1.0)


def about_label(label: str) -> About:
    """Name and look of a label, as its architecture's file or `LABELS` has them."""
    declared = LABELS.get(label) or about(label)
    check_look(f"ABOUT of {label}", declared.marker or None, declared.color or None)
    return declared


def find_style(rows: Sequence[Row], settings: VisualizationSettings) -> Style:
    """Markers and colours from settings, then from the labels' own looks, then spare ones in the order of the labels.

    No two labels share marker and colour unless settings or looks say so. The width of most SAEs has the solid line.
    """
    labels = sorted({row.label for row in rows})
    saes = {row.identity: row.d_sae for row in rows}
    by_width = Counter(saes.values())
    widths = sorted(by_width, key=lambda width: (-by_width[width], width or 0))
    looks = {label: about_label(label) for label in labels}
    markers = {label: settings.markers.get(label) or looks[label].marker for label in labels}
    colors = {label: settings.colors.get(label) or looks[label].color for label in labels}
    _fill_in(markers, colors)
    return Style(markers, colors, {width: LINES[i % len(LINES)] for i, width in enumerate(widths)}, settings)


def _fill_in(markers: dict[str, str], colors: dict[str, str]) -> None:
    """Gives each label what it lacks, spare colours and unused markers in turn, so that each pair is used once."""
    spare_markers = [marker for marker in MARKERS if marker not in markers.values()] or MARKERS
    next_color, next_marker = cycle(SPARE_COLORS), cycle(spare_markers)
    pairs = {(markers[label], colors[label]) for label in markers if markers[label] and colors[label]}
    for label in markers:
        if markers[label] and colors[label]:
            continue
        has_marker = bool(markers[label])
        colors[label] = colors[label] or next(next_color)
        markers[label] = markers[label] or next(next_marker)
        for _ in spare_markers:
            if (markers[label], colors[label]) not in pairs:
                break
            if has_marker:
                colors[label] = next(next_color)
            else:
                markers[label] = next(next_marker)
        pairs.add((markers[label], colors[label]))


def marker_look(color: Any, interpolates: Interpolation, *, published: bool, rim: str = "white") -> dict[str, Any]:
    """How a marker is filled: empty where most text is interpolated, half where some is; published ones are pale.

    `rim` is the edge of a full marker, which sets it off from what lies below.
    """
    look: dict[str, Any] = {
        "color": color,
        "markerfacecolor": "white" if interpolates == "most" else color,
        "markeredgecolor": color if interpolates in {"most", "some"} else rim,
        "markeredgewidth": {"most": 1.6, "some": 1.0}.get(interpolates, 0.7),
        "fillstyle": "left" if interpolates == "some" else "full",
        "markerfacecoloralt": "white",
        "alpha": 0.5 if published else 1.0,
    }
    return look


def rc_settings(settings: VisualizationSettings) -> dict[str, Any]:
    """Matplotlib's settings for all pictures: readable, and with nothing that differs from run to run."""
    return {
        "font.family": "DejaVu Sans",
        "font.size": settings.font_size,
        "axes.titlesize": settings.font_size + 1,
        "figure.titlesize": settings.font_size + 2,
        "axes.edgecolor": "#888888",
        "axes.labelcolor": TEXT,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": GRID,
        "grid.linewidth": 0.7,
        "text.color": TEXT,
        "xtick.color": TEXT,
        "ytick.color": TEXT,
        "legend.frameon": False,
        "svg.hashsalt": "sae_research",
        "pdf.compression": 6,
    }
