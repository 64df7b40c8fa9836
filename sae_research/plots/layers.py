"""A metric over the layers of the language model: a line for each architecture and for each baseline."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from sae_research.plots.axes import REFERENCE_LINES, draw_bars
from sae_research.plots.choice import nearest_l0
from sae_research.plots.labels import axis_label, label_rank, label_text
from sae_research.plots.legend import add_legend, legend_height
from sae_research.plots.points import panel_places, panel_title, reference_rows
from sae_research.plots.style import Style, marker_look
from sae_research.results.figures import Figure, belongs
from sae_research.results.rows import Row, interpolation
from sae_research.results.sites import depth_of, site_of

_SIZE, _LEGEND_WIDTH, _COLUMNS = (5.0, 4.4), 3.1, 3
_AXIS = "Layer (blocks before the site)"


class _Series(NamedTuple):
    """The SAEs of one label, width and kind of site, one at each depth."""

    label: str
    source: str
    d_sae: int | None
    kind: str


def draw_layers(figure: Figure, rows: Sequence[Row], style: Style) -> Any:
    """The picture: a panel for each place of the metric; where several SAEs share a place the one of middle L0."""
    places = panel_places(figure, rows, style.settings)
    of_panels = [_series([row for row in rows if row.at == at and belongs(row, figure)]) for at in places]
    levels = [reference_rows(rows, next(row for row in rows if row.at == at and belongs(row, figure))) for at in places]
    names = list(dict.fromkeys(series for lines in of_panels for series in lines))
    baselines = list(dict.fromkeys(label for by_label in levels for label in by_label))
    entries = [_entry(series, names, style) for series in names]
    entries += [Line2D([], [], label=textwrap.fill(b, 30), **_look(i)) for i, b in enumerate(baselines)]
    drawing, grid = blank_grid(figure, len(places), legend_height(entries, style))
    for axes, at, lines, by_label in zip(grid, places, of_panels, levels, strict=True):
        for series, of_series in lines.items():
            _draw_series(axes, series, of_series, style)
        for label, of_baseline in by_label.items():
            _draw_baseline(axes, of_baseline, _look(baselines.index(label)), intervals=style.settings.error_bars)
        example = next(row for row in rows if row.at == at and belongs(row, figure))
        axes.set_title(panel_title(figure, example))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel(_AXIS)
        axes.set_ylabel(axis_label(example))
    add_legend(drawing, entries, style)
    return drawing


def _series(rows: Sequence[Row]) -> Mapping[_Series, list[Row]]:
    """The rows with a value by series, one for each depth and rising."""
    groups: dict[_Series, list[Row]] = {}
    for row in rows:
        site = site_of(row.hook_name)
        if row.value is not None and site is not None:
            kind = "" if site.kind.startswith("resid") else site.kind
            groups.setdefault(_Series(row.label, row.source, row.d_sae, kind), []).append(row)
    chosen = {}
    for series in sorted(groups, key=lambda s: (s.source, label_rank(s.label), s.d_sae or 0, s.kind)):
        by_depth: dict[float, list[Row]] = {}
        for row in groups[series]:
            by_depth.setdefault(depth_of(row.hook_name), []).append(row)
        chosen[series] = [nearest_l0(by_depth[depth], groups[series]) for depth in sorted(by_depth)]
    return chosen


def _draw_series(axes: Axes, series: _Series, rows: Sequence[Row], style: Style) -> None:
    color, xs = style.colors[series.label], [depth_of(row.hook_name) for row in rows]
    values = [float(row.value or 0.0) for row in rows]
    if style.settings.connect:
        axes.plot(xs, values, color=color, linestyle=style.lines[series.d_sae], linewidth=1.4, alpha=0.7, zorder=2)
    if style.settings.error_bars:
        bars = zip(xs, rows, strict=True)
        draw_bars(axes, [(x, row.value, row.ci_low, row.ci_high) for x, row in bars], color)
    for x, row in zip(xs, rows, strict=True):
        look = marker_look(color, interpolation(row.interpolates), published=series.source == "published")
        size = 0.75 * style.marker_size(series.label)
        marker = style.markers[series.label]
        axes.plot([x], [row.value or 0.0], marker=marker, markersize=size, linestyle="none", zorder=4, **look)


def _draw_baseline(axes: Axes, rows: Sequence[Row], look: dict[str, Any], *, intervals: bool) -> None:
    # Every SAE of a site comes with them.
    by_depth = {depth_of(row.hook_name): row for row in reversed(rows)}
    xs = sorted(by_depth)
    if len(xs) < 2:
        axes.axhline(rows[0].value or 0.0, zorder=1.5, **look)
        return
    axes.plot(xs, [by_depth[x].value or 0.0 for x in xs], zorder=1.5, **look)
    if intervals:
        bars = [(x, by_depth[x].value, by_depth[x].ci_low, by_depth[x].ci_high) for x in xs]
        draw_bars(axes, bars, look["color"])


def _look(index: int) -> dict[str, Any]:
    return REFERENCE_LINES[index % len(REFERENCE_LINES)]


def _entry(series: _Series, others: Sequence[_Series], style: Style) -> Line2D:
    """The legend's entry; with width and kind of site where the label alone does not tell."""
    alike = [other for other in others if (other.label, other.source) == (series.label, series.source)]
    title = label_text(series.label, series.source)
    if len({other.d_sae for other in alike}) > 1:
        title += f", d_sae {'unknown' if series.d_sae is None else f'{series.d_sae:,}'}"
    title += f", {series.kind}" if series.kind else ""
    return Line2D(
        [], [], marker=style.markers[series.label], markersize=style.marker_size(series.label),
        linestyle=style.lines[series.d_sae] if style.settings.connect else "none", label=textwrap.fill(title, 30),
        **marker_look(style.colors[series.label], "no", published=series.source == "published"),
    )  # fmt: skip


def blank_grid(figure: Figure, n_panels: int, legend: float) -> tuple[Any, Any]:
    """An empty picture and its coordinate systems."""
    from matplotlib.figure import Figure as MplFigure

    columns = min(_COLUMNS, n_panels)
    lines = math.ceil(n_panels / columns)
    size = (_SIZE[0] * columns + _LEGEND_WIDTH, max(_SIZE[1] * lines, legend))
    drawing = MplFigure(figsize=size, layout="constrained")
    drawing.suptitle(textwrap.fill(figure.caption, 54 * columns), x=0.02, ha="left")
    grid = drawing.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).flatten()
    for unused in grid[n_panels:]:
        unused.set_visible(False)
    for axes in grid[max(n_panels - columns, 0) : n_panels]:
        # An axis that panels share has its numbers in the last line alone, where there may be no panel.
        axes.tick_params(labelbottom=True)
    return drawing, grid[:n_panels]
