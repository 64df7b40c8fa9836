"""Colour, marker and line of every SAE in a picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sae_research.plots.settings import (
    DEFAULT_COLORS,
    DEFAULT_MARKERS,
    MARKERS,
    SPARE_COLORS,
    VisualizationSettings,
)
from sae_research.results.rows import Interpolation, Row

NAMES: Mapping[str, str] = {
    "relu": "ReLU",
    "topk": "TopK",
    "batchtopk": "BatchTopK",
    "jumprelu": "JumpReLU",
    "gated": "Gated",
    "matryoshka": "Matryoshka",
    "p_anneal": "P-anneal",
    "ihtp": "IHTP",
    "ihtp_causal": "IHTP, causal",
    "ihtp_token": "IHTP, per token",
    "shtp": "SHTP",
    "mpsae": "MPSAE",
    "omp": "OMP",
    "pca": "PCA",
    "random": "Random",
    "identity": "Identity",
}
"""How a label is written in a legend."""

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


def find_style(rows: Sequence[Row], settings: VisualizationSettings) -> Style:
    """Settings first, then defaults, then spare ones in the order of the labels.

    The width of most SAEs has the solid line.
    """
    labels = sorted({row.label for row in rows})
    saes = {row.identity: row.d_sae for row in rows}
    counted = Counter(saes.values())
    widths = sorted(counted, key=lambda width: (-counted[width], width or 0))
    colors, markers = {**DEFAULT_COLORS, **settings.colors}, {**DEFAULT_MARKERS, **settings.markers}
    unknown = [name for name in labels if name not in colors]
    colors |= {name: SPARE_COLORS[i % len(SPARE_COLORS)] for i, name in enumerate(unknown)}
    unmarked = [name for name in labels if name not in markers]
    taken = {markers[name] for name in labels if name in markers}
    spare = [marker for marker in MARKERS if marker not in taken] or MARKERS
    markers |= {name: spare[i % len(spare)] for i, name in enumerate(unmarked)}
    return Style(markers, colors, {width: LINES[i % len(LINES)] for i, width in enumerate(widths)}, settings)


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
