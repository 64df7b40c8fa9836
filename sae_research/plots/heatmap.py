"""A metric by SAE and place as shades, beside it the mean over places with its interval."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from sae_research.evals.base import PartsFigure
from sae_research.plots.axes import draw_bars
from sae_research.plots.curve import bar
from sae_research.plots.labels import axis_label, label_rank, label_text
from sae_research.plots.style import Style, marker_look
from sae_research.results.figures import Figure, is_part
from sae_research.results.rows import Row, interpolation
from sae_research.results.sites import depth_of, sites_of
from sae_research.results.summary import by_sae

_COLUMN, _LINE = 0.34, 0.3
"""Inches of a place's column and of an SAE's line."""
_MEAN_WIDTH = 2.6
_MARGINS = (3.6, 1.9)


def draw_heatmap(figure: Figure, parts: PartsFigure, rows: Sequence[Row], style: Style) -> Any:
    """The picture; a place that an SAE has no number for is hatched."""
    from matplotlib.figure import Figure as MplFigure

    (place,) = parts.places
    chosen = [row for row in rows if is_part(row, figure.eval, figure.metric, parts.places)]
    several = len(sites_of(rows)) > 1
    groups = sorted(by_sae(chosen).values(), key=lambda group: _order(group[0], by_site=several))
    columns = sorted({str(row.place[place]) for row in chosen})
    width = _COLUMN * len(columns)
    size = (_MARGINS[0] + width + _MEAN_WIDTH, _MARGINS[1] + _LINE * len(groups))
    drawing = MplFigure(figsize=size, layout="constrained")
    exact = any(interpolation(group[0].interpolates) == "most" for group in groups)
    caption = figure.caption + ("; † interpolates most of the text" if exact else "")
    drawing.suptitle(textwrap.fill(caption, int(8.5 * size[0])), x=0.02, ha="left")
    widths = (width, _MEAN_WIDTH) if parts.mean else (width,)
    shades, *beside = drawing.subplots(1, len(widths), sharey=True, squeeze=False, width_ratios=widths)[0]
    image = _draw_shades(shades, groups, place, columns, with_site=several)
    shades.set_xlabel(parts.axis)
    if parts.mean:
        beside[0].set_xlabel(f"Mean over {place}s")
        _draw_means(beside[0], [row for row in rows if is_part(row, figure.eval, parts.mean, ())], groups, style)
    drawing.colorbar(image, ax=[shades, *beside][-1], label=axis_label(chosen[0]), shrink=0.9, pad=0.03)
    return drawing


def _order(row: Row, *, by_site: bool) -> tuple[object, ...]:
    """Where the line of the row's SAE stands among the others."""
    site = (depth_of(row.hook_name), row.hook_name or "") if by_site else ()
    return row.source, *site, label_rank(row.label), row.l0 is None, row.l0 or 0.0, row.sae


def _draw_shades(
    axes: Axes, groups: Sequence[Sequence[Row]], place: str, columns: Sequence[str], *, with_site: bool
) -> Any:
    values = np.full((len(groups), len(columns)), np.nan)
    for line, group in enumerate(groups):
        for row in group:
            values[line, columns.index(str(row.place[place]))] = row.value
    axes.set_facecolor("#eeeeee")
    axes.patch.set_hatch("///")
    axes.patch.set_edgecolor("#bbbbbb")
    top = float(np.nanmax(values))
    image = axes.imshow(values, cmap="viridis_r", vmin=0.0, vmax=top or 1.0, aspect="auto", interpolation="nearest")
    axes.set_xticks(range(len(columns)), columns)
    names = [
        label_text(first.label, first.source)
        + (" †" if interpolation(first.interpolates) == "most" else "")
        + ("" if first.l0 is None else f", L0 {first.l0:.3g}")
        + (f", {first.hook_name}" if with_site and first.hook_name else "")
        for first, *_ in groups
    ]
    axes.set_yticks(range(len(groups)), names)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    return image


def _draw_means(axes: Axes, rows: Sequence[Row], groups: Sequence[Sequence[Row]], style: Style) -> None:
    """The mean over places of each SAE, where it was measured."""
    means = {row.identity: row for row in rows}
    for line, group in enumerate(groups):
        mean = means.get(group[0].identity)
        if mean is None:
            continue
        color = style.colors[mean.label]
        if style.settings.error_bars:
            draw_bars(axes, [bar(line, mean)], color, horizontal=True)
        look = marker_look(color, interpolation(mean.interpolates), published=mean.source == "published")
        size = 0.75 * style.marker_size(mean.label)
        axes.plot(
            [mean.value or 0.0], [line], marker=style.markers[mean.label], markersize=size, linestyle="none", **look
        )
    axes.set_xlim(left=0.0)
    axes.tick_params(labelleft=False, left=False)
