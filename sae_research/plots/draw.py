"""Pictures from the merged table: L0 against every headline metric, and against loss recovered coloured by it."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sae_research.files import folder_in_the_making
from sae_research.paths import Paths
from sae_research.plots.points import Panel, Point, find_panels
from sae_research.plots.settings import VisualizationSettings
from sae_research.plots.style import Style, find_style, rc_settings
from sae_research.results.figures import Figure, planned_figures
from sae_research.results.process import TABLE_FILE
from sae_research.results.rows import Row, read_table

log = logging.getLogger(__name__)

L0_LABEL = "L0, latents in use per token (left is sparser)"
BETTER = {"higher": " (higher is better)", "lower": " (lower is better)"}
_PANEL_SIZE = (5.0, 4.4)
_LEGEND_WIDTH = 3.1
_COLUMNS = 3


def visualize(paths: Paths, settings: VisualizationSettings) -> list[Path]:
    """Fills `images/` from the merged table; returns the pictures."""
    drawn = draw_all(paths.merged / TABLE_FILE, paths.images, settings, scratch=paths.store / "scratch")
    log.info("visualize: %s: %d pictures", paths.images, len(drawn))
    return drawn


def draw_all(table: Path, images: Path, settings: VisualizationSettings, *, scratch: Path) -> list[Path]:
    """Makes `images` hold the pictures that the table asks for, and nothing else; the same input, the same bytes."""
    rows = read_table(table)
    style = find_style(rows, settings)
    names: list[str] = []
    with _plain_matplotlib(settings), folder_in_the_making(images, scratch=scratch) as folder:
        for figure in planned_figures(rows):
            drawing = draw_figure(figure, rows, style)
            names += [_save(drawing, folder, figure.name, ending, settings) for ending in _endings(settings)]
    return [images / name for name in names]


def _endings(settings: VisualizationSettings) -> tuple[str, ...]:
    return ("png", *dict.fromkeys(settings.extra_formats))


@contextmanager
def _plain_matplotlib(settings: VisualizationSettings) -> Iterator[None]:
    """Our settings on top of Matplotlib's own defaults, whatever the user's matplotlibrc says."""
    import matplotlib as mpl

    with mpl.rc_context({**mpl.rcParamsDefault, "backend": "agg", **rc_settings(settings)}):
        yield


def _save(drawing: Any, folder: Path, name: str, ending: str, settings: VisualizationSettings) -> str:
    """Writes the picture without date or program version, so that its bytes depend on its content alone."""
    empty = {"png": {"Software": None}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
    drawing.savefig(folder / f"{name}.{ending}", dpi=settings.dpi, metadata=empty[ending])
    return f"{name}.{ending}"


def draw_figure(figure: Figure, rows: Sequence[Row], style: Style) -> Any:
    """The picture as a Matplotlib figure; one without points says why it is empty."""
    from matplotlib.figure import Figure as MplFigure

    panels = find_panels(figure, rows, style.settings)
    example = next(row for row in rows if (row.eval, row.metric) == (figure.eval, figure.metric) and row.column)
    columns = min(max(len(panels), 1), _COLUMNS)
    height = math.ceil(max(len(panels), 1) / columns)
    drawing = MplFigure(
        figsize=(_PANEL_SIZE[0] * columns + _LEGEND_WIDTH, _PANEL_SIZE[1] * height), layout="constrained"
    )
    drawing.suptitle(figure.caption)
    if not any(panel.points for panel in panels):
        _explain(drawing, figure, panels)
        return drawing
    grid = drawing.subplots(height, columns, sharex=True, sharey=True, squeeze=False).flatten()
    for unused in grid[len(panels) :]:
        unused.set_visible(False)
    if figure.kind == "metric":
        _draw_metric(drawing, grid, panels, example, style)
    else:
        _draw_loss_recovered(drawing, grid, panels, example, style)
    drawing.supxlabel(L0_LABEL, fontsize=style.settings.font_size)
    return drawing


def _explain(drawing: Any, figure: Figure, panels: Sequence[Panel]) -> None:
    hidden = sorted({name for panel in panels for name in panel.hidden})
    reason = (
        f"no SAE has both an L0 above 0 and this metric ({len(hidden)} measured)"
        if panels
        else f"{figure.metric} was measured at none of the k_values / n_values in params.yaml"
    )
    drawing.text(0.5, 0.5, f"Nothing to show:\n{reason}.", ha="center", va="center")


def _draw_metric(drawing: Any, grid: Any, panels: Sequence[Panel], example: Row, style: Style) -> None:
    from sae_research.plots.axes import draw_panel, scale_metric
    from sae_research.plots.legend import add_legend

    for axes, panel in zip(grid, panels, strict=False):
        draw_panel(axes, panel, style)
    scale_metric(grid[0], panels, example.direction)
    drawing.supylabel(axis_label(example), fontsize=style.settings.font_size)
    add_legend(drawing, panels, style, colored=True)


def _draw_loss_recovered(drawing: Any, grid: Any, panels: Sequence[Panel], example: Row, style: Style) -> None:
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    from sae_research.plots.axes import draw_panel, scale_metric
    from sae_research.plots.legend import add_legend

    shades = [point.shade for panel in panels for point in panel.points if point.shade is not None]
    scale = ScalarMappable(Normalize(min(shades), max(shades) + (min(shades) == max(shades))), colormaps["viridis"])

    def paint(point: Point) -> Any:
        return scale.to_rgba(point.shade)  # type: ignore[arg-type]

    for axes, panel in zip(grid, panels, strict=False):
        draw_panel(axes, panel, style, paint)
    scale_metric(grid[0], panels, "higher")
    drawing.supylabel("Loss recovered (higher is better)", fontsize=style.settings.font_size)
    drawing.colorbar(scale, ax=list(grid), label=axis_label(example), shrink=0.9)
    add_legend(drawing, panels, style, colored=False)


def axis_label(row: Row) -> str:
    """The metric in words, its unit, and which way is better."""
    unit = f" [{row.unit}]" if row.unit else ""
    return f"{row.title}{unit}{BETTER.get(row.direction or '', '')}"
