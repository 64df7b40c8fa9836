"""A metric against another one at the same place: a panel for each place, a marker for each SAE, a line where both are
equal."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from sae_research.evals.base import PartsFigure
from sae_research.plots.axes import draw_bars
from sae_research.plots.labels import axis_label, label_rank, label_text
from sae_research.plots.layers import blank_grid
from sae_research.plots.legend import add_legend, legend_height
from sae_research.plots.points import panel_places
from sae_research.plots.style import Style, marker_look
from sae_research.results.figures import Figure, belongs
from sae_research.results.rows import Row, interpolation
from sae_research.results.sites import at_site, sites_of

_EQUAL: Mapping[str, Any] = {"color": "#555555", "linestyle": (0, (6, 3)), "linewidth": 1.1}


class _Panel(NamedTuple):
    title: str
    pairs: Sequence[tuple[Row, Row]]
    """Of each SAE the number across and the number upwards."""


def draw_against(figure: Figure, parts: PartsFigure, rows: Sequence[Row], style: Style) -> Any:
    """The picture; both axes of all panels have the same ends, so that the line of equal numbers is the diagonal."""
    panels = _panels(figure, parts, rows, style)
    shown = [y for panel in panels for _, y in panel.pairs]
    entries = _entries(shown, style)
    drawing, grid = blank_grid(figure, max(len(panels), 1), legend_height(entries, style))
    ends = [
        end
        for panel in panels
        for pair in panel.pairs
        for row in pair
        for end in (row.value, row.ci_low, row.ci_high)
        if end is not None
    ]
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    margin = 0.05 * (high - low) or 0.05
    for axes, panel in zip(grid, panels, strict=bool(panels)):
        axes.plot([low, high], [low, high], zorder=1.5, **_EQUAL)
        for x, y in panel.pairs:
            _draw_sae(axes, x, y, style)
        axes.set(xlim=(low - margin, high + margin), ylim=(low - margin, high + margin), title=panel.title)
        axes.set(xlabel=axis_label(panel.pairs[0][0]), ylabel=axis_label(panel.pairs[0][1]))
    add_legend(drawing, entries, style)
    return drawing


def _panels(figure: Figure, parts: PartsFigure, rows: Sequence[Row], style: Style) -> list[_Panel]:
    across = {(row.identity, row.at): row for row in rows if (row.eval, row.metric) == (figure.eval, parts.against)}
    sites = sites_of(row for row in rows if belongs(row, figure))
    panels = []
    for at in panel_places(figure, rows, style.settings):
        for site in sites if len(sites) > 1 else [None]:
            upwards = [row for row in rows if row.at == at and belongs(row, figure)]
            upwards = upwards if site is None else at_site(upwards, site)
            pairs = [(across[row.identity, at], row) for row in upwards if (row.identity, at) in across]
            pairs = [(x, y) for x, y in pairs if x.value is not None]
            if pairs:
                words = [f"{key.replace('_', ' ')} = {value}" for key, value in pairs[0][1].place.items()]
                panels.append(_Panel(", ".join([*words, *([site] if site else [])]), pairs))
    return panels


def _draw_sae(axes: Axes, x: Row, y: Row, style: Style) -> None:
    color, across, upwards = style.colors[y.label], float(x.value or 0.0), float(y.value or 0.0)
    if style.settings.error_bars:
        draw_bars(axes, [(across, upwards, y.ci_low, y.ci_high)], color)
        draw_bars(axes, [(upwards, across, x.ci_low, x.ci_high)], color, horizontal=True)
    look = marker_look(color, interpolation(y.interpolates), published=y.source == "published")
    size = 0.75 * style.marker_size(y.label)
    axes.plot(
        [across], [upwards], marker=style.markers[y.label], markersize=size, linestyle="none", zorder=4, **look
    )  # fmt: skip


def _entries(rows: Sequence[Row], style: Style) -> list[Line2D]:
    kinds = sorted({(row.label, row.source) for row in rows}, key=lambda kind: (label_rank(kind[0]), kind[1]))
    entries = [
        Line2D(
            [], [], marker=style.markers[label], markersize=style.marker_size(label), linestyle="none",
            label=textwrap.fill(label_text(label, source), 30),
            **marker_look(style.colors[label], "no", published=source == "published"),
        )
        for label, source in kinds
    ]  # fmt: skip
    return [*entries, Line2D([], [], label="both are equal", **_EQUAL)]
