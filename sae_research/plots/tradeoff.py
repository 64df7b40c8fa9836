"""One metric against another over all settings of an intervention, for one SAE of each architecture."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from sae_research.evals.base import PartsFigure
from sae_research.plots.axes import draw_bars
from sae_research.plots.choice import Chosen, choice_text, choose_saes
from sae_research.plots.curve import bar, blank, line_entry
from sae_research.plots.labels import axis_label
from sae_research.plots.legend import add_legend, legend_height
from sae_research.plots.style import Style, marker_look
from sae_research.results.figures import Figure
from sae_research.results.rows import Row, interpolation


class _Setting(NamedTuple):
    """One setting of the intervention."""

    x: Row
    y: Row


def draw_tradeoff(figure: Figure, parts: PartsFigure, rows: Sequence[Row], style: Style) -> Any:
    """The picture: all settings as dots, and a line along those that no other beats on both sides."""
    heights = {(row.identity, row.at): row for row in rows if (row.eval, row.metric) == (figure.eval, parts.against)}
    both = [
        row
        for row in rows
        if (row.eval, row.metric) == (figure.eval, figure.metric)
        and row.value is not None
        and (row.identity, row.at) in heights
        and heights[row.identity, row.at].value is not None
    ]
    chosen = choose_saes(both)
    entries = [line_entry(one, style) for one in chosen]
    for text, look in (
        ("dots: further settings of the intervention", {"marker": ".", "markersize": 4, "alpha": 0.5}),
        ("best is the upper left corner", {}),
    ):
        entries.append(Line2D([], [], label=textwrap.fill(text, 30), linestyle="none", color="#555555", **look))
    drawing, axes = blank(figure.caption + choice_text(both), legend_height(entries, style))
    for one in chosen:
        _draw_sae(axes, one, heights, style)
    if both:
        axes.set_xlabel(axis_label(both[0]))
        axes.set_ylabel(axis_label(heights[both[0].identity, both[0].at]))
    add_legend(drawing, entries, style)
    return drawing


def _draw_sae(axes: Axes, one: Chosen, heights: Mapping[Any, Row], style: Style) -> None:
    color = style.colors[one.label]
    settings = [_Setting(row, heights[row.identity, row.at]) for row in one.rows]
    faint = 0.15 if one.published else 0.3
    axes.plot(
        [s.x.value or 0.0 for s in settings], [s.y.value or 0.0 for s in settings],
        linestyle="none", marker=".", markersize=4, color=color, alpha=faint, zorder=1.5,
    )  # fmt: skip
    edge = unbeaten(settings)
    xs, ys = [float(s.x.value or 0.0) for s in edge], [float(s.y.value or 0.0) for s in edge]
    axes.plot(xs, ys, color=color, linewidth=1.4, alpha=0.4 if one.published else 0.8, zorder=2)
    if style.settings.error_bars:
        draw_bars(axes, [bar(x, s.y) for x, s in zip(xs, edge, strict=True)], color)
        draw_bars(axes, [bar(y, s.x) for y, s in zip(ys, edge, strict=True)], color, horizontal=True)
    look = marker_look(color, interpolation(one.rows[0].interpolates), published=one.published)
    axes.plot(
        xs, ys, linestyle="none", marker=style.markers[one.label], markersize=0.75 * style.marker_size(one.label),
        zorder=4, **look,
    )  # fmt: skip


def unbeaten(settings: Sequence[_Setting]) -> list[_Setting]:
    """The settings that no other beats on both sides, a smaller x and as large a y, by rising x."""
    edge: list[_Setting] = []
    for setting in sorted(settings, key=lambda s: (s.x.value or 0.0, -(s.y.value or 0.0))):
        if not edge or (setting.y.value or 0.0) > (edge[-1].y.value or 0.0):
            edge.append(setting)
    return edge
