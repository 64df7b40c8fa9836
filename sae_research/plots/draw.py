"""Pictures from the merged table: L0 against every headline metric and against the loss, and metrics' parts."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sae_research.files import folder_in_the_making
from sae_research.plots.labels import BETTER, L0_LABEL, axis_label
from sae_research.plots.points import Panel, find_panels, reference_labels
from sae_research.plots.settings import VisualizationSettings
from sae_research.plots.style import Style, find_style, rc_settings
from sae_research.results.figures import Figure, planned_figures
from sae_research.results.rows import Row, read_table

_PANEL_SIZE = (5.0, 4.4)
_LEGEND_WIDTH = 3.1
_COLUMNS = 3
_UNDATED = {"png": {"Software": None}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
"""Metadata without a date or a program version, so that a picture's bytes depend on its content alone."""


def draw_all(table: Path, images: Path, settings: VisualizationSettings, *, scratch: Path) -> list[Path]:
    """Makes `images` hold the pictures that the table asks for, and nothing else; the same input, the same bytes."""
    rows = read_table(table)
    style = find_style(rows, settings)
    names: list[str] = []
    with plain_matplotlib(settings), folder_in_the_making(images, scratch=scratch) as folder:
        for figure in planned_figures(rows):
            drawing = draw_figure(figure, rows, style)
            for ending in ("png", *dict.fromkeys(settings.extra_formats)):
                names.append(f"{figure.name}.{ending}")
                drawing.savefig(folder / names[-1], dpi=settings.dpi, metadata=_UNDATED[ending])
    return [images / name for name in names]


@contextmanager
def plain_matplotlib(settings: VisualizationSettings) -> Iterator[None]:
    """Our settings on top of Matplotlib's own defaults, whatever the user's matplotlibrc says."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(rc_settings(settings))  # type: ignore[call-overload]
        yield


def draw_figure(figure: Figure, rows: Sequence[Row], style: Style) -> Any:
    """The picture as a Matplotlib figure; one without points says why it is empty."""
    if figure.kind == "layers":
        from sae_research.plots.layers import draw_layers

        return draw_layers(figure, rows, style)
    if figure.parts is not None and figure.kind != "panels":
        from sae_research.plots.against import draw_against
        from sae_research.plots.curve import draw_curve
        from sae_research.plots.heatmap import draw_heatmap
        from sae_research.plots.tradeoff import draw_tradeoff

        drawers = {"curve": draw_curve, "heatmap": draw_heatmap, "tradeoff": draw_tradeoff, "against": draw_against}
        return drawers[figure.kind](figure, figure.parts, rows, style)
    panels = find_panels(figure, rows, style.settings)
    if not any(panel.points for panel in panels):
        return _empty(figure, panels)
    example = next(
        row for row in rows if (row.eval, row.metric) == (figure.eval, figure.metric) and row.value is not None
    )
    return _draw_panels(figure, panels, example, style)


def _empty(figure: Figure, panels: Sequence[Panel]) -> Any:
    from matplotlib.figure import Figure as MplFigure

    hidden = {name for panel in panels for name in panel.hidden}
    reason = (
        f"of {len(hidden)} SAEs none has both an L0 above 0 and this metric"
        if panels
        else f"{figure.metric} was not measured at any of the k_values or n_values\nin params.yaml (visualization)"
    )
    drawing = MplFigure(figsize=(_PANEL_SIZE[0] + _LEGEND_WIDTH, _PANEL_SIZE[1]))
    drawing.suptitle(textwrap.fill(figure.caption, 70), x=0.02, ha="left")
    drawing.text(0.5, 0.5, f"Nothing to show:\n{reason}.", ha="center", va="center")
    return drawing


def _blank(figure: Figure, n_panels: int, legend: float, label: str) -> tuple[Any, Any]:
    """An empty picture and its coordinate systems, `label` beside them, high enough for a legend of `legend` inches."""
    from matplotlib.figure import Figure as MplFigure

    lines = math.ceil(n_panels / _COLUMNS)
    columns = math.ceil(n_panels / lines)
    size = (_PANEL_SIZE[0] * columns + _LEGEND_WIDTH, max(_PANEL_SIZE[1] * lines, legend))
    drawing = MplFigure(figsize=size, layout="constrained")
    drawing.suptitle(textwrap.fill(figure.caption, 54 * columns), x=0.02, ha="left")
    grid = drawing.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).flatten()
    for unused in grid[n_panels:]:
        unused.set_visible(False)
    for index, axes in enumerate(grid[:n_panels]):
        # Nothing but empty space may follow below, or the shared axis would stay without numbers.
        if index + columns >= n_panels:
            axes.set_xlabel(L0_LABEL)
            axes.tick_params(labelbottom=True)
        if index % columns == 0:
            axes.set_ylabel(label)
    return drawing, grid[:n_panels]


def _draw_panels(figure: Figure, panels: Sequence[Panel], example: Row, style: Style) -> Any:
    """L0 against the metric, or against the cross-entropy added, with the metric as colour."""
    from sae_research.plots.axes import draw_panel
    from sae_research.plots.legend import add_legend, legend_entries, legend_height
    from sae_research.plots.scale import find_scale

    by_color = figure.kind == "loss"
    scale = find_scale(panels, "lower" if by_color else example.direction)
    entries = legend_entries(panels, style, [scale] * len(panels), colored=not by_color)
    label = f"Cross entropy added by the SAE [nats]\n{BETTER['lower']}" if by_color else axis_label(example)
    drawing, grid = _blank(figure, len(panels), legend_height(entries, style), label)
    if by_color:
        shades, ends = _shades(panels)
        for axes, panel in zip(grid, panels, strict=True):
            draw_panel(axes, panel, style, scale, lambda point: shades.to_rgba(point.shade))
        drawing.colorbar(shades, ax=list(grid), label=axis_label(example), shrink=0.9, pad=0.02, extend=ends)
    else:
        for axes, panel in zip(grid, panels, strict=True):
            draw_panel(axes, panel, style, scale, levels=reference_labels(panels))
    add_legend(drawing, entries, style)
    return drawing


def _shades(panels: Sequence[Panel]) -> tuple[Any, str]:
    """Colour by metric over the values of SAEs whose numbers mean something, and at which ends others lie beyond."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    from sae_research.plots.scale import without_outliers

    points = [point for panel in panels for point in panel.points]
    meant = [point for point in points if point.interpolates != "most"] or points
    values = without_outliers([point.shade for point in meant if point.shade is not None])
    every = [point.shade for point in points if point.shade is not None]
    low, high = min(values), max(values)
    spare = 0.0 if high > low else abs(low) * 0.05 or 0.05
    below, above = min(every) < low, max(every) > high
    ends = "both" if below and above else "min" if below else "max" if above else "neither"
    # The last tenth of viridis is too pale on white.
    colors = ListedColormap(colormaps["viridis"].resampled(284).colors[:256])  # type: ignore[attr-defined]
    return ScalarMappable(Normalize(low - spare, high + spare), colors), ends
