"""The overview, the picture that the README shows: a few telling panels, with their numbers inside the file."""

from __future__ import annotations

import dataclasses
import io
import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sae_research.evals.registry import all_evals
from sae_research.files import write_atomically
from sae_research.plots.draw import plain_matplotlib
from sae_research.plots.points import Panel, panel_at, reference_labels
from sae_research.plots.settings import VisualizationSettings
from sae_research.plots.style import Style, find_style
from sae_research.results.figures import Figure, is_part
from sae_research.results.markdown import ARROWS, column_title
from sae_research.results.numbers import json_text
from sae_research.results.rows import Row, read_table
from sae_research.results.sites import at_site, sites_of

NUMBERS = "sae_research"
"""The PNG's text entry that holds the numbers it shows, as JSON."""
LOOK = {"font_size": 9.5, "marker_size": 6.5, "dpi": 180}
"""Readable where a page shows 1,782 pixels as 880."""
_WIDTH, _PANEL_SIZE = 9.9, (3.3, 3.1)
_LINES = 3
"""Entries of the legend in a column, unless there are more than four columns of them."""


class OverviewPart(NamedTuple):
    """One panel, with a row of its metric for title and direction."""

    panel: Panel
    example: Row
    site: str | None = None
    """Whose SAEs are shown, where there are those of several sites."""

    @property
    def title(self) -> str:
        title = f"{column_title(self.example)}{ARROWS.get(self.example.direction, '')}"
        return title if self.site is None else f"{title}, {self.site}"


def write_overview(table: Path, picture: Path, settings: VisualizationSettings, *, scratch: Path) -> None:
    """Writes the PNG `picture`, with whatever panels the table has numbers for; the same input gives the same bytes.

    Marker and colour by label, error bars and lines follow `settings`. The text entry `NUMBERS` of the file holds what
    is shown, so that a test can compare it with the report.
    """
    rows = read_table(table)
    look = dataclasses.replace(settings, **LOOK)
    parts = overview_parts(rows)
    file = io.BytesIO()
    with plain_matplotlib(look):
        drawing = draw_overview(parts, find_style(rows, look))
        drawing.savefig(
            file, format="png", dpi=look.dpi, metadata={"Software": None, NUMBERS: json_text(_numbers(parts))}
        )
    write_atomically(picture, file.getvalue(), scratch=scratch)


def overview_parts(rows: Sequence[Row]) -> list[OverviewPart]:
    """The panels that the evals declare (`Eval.overview`), as far as they were measured, from left to right."""
    declared = [(e.name, e.overview) for e in all_evals() if e.overview is not None]
    parts = []
    for eval_name, wanted in sorted(declared, key=lambda pair: pair[1].position):
        measured = [row for row in rows if is_part(row, eval_name, wanted.metric, wanted.at)]
        site = _most_common_site(measured)
        measured = measured if site is None else at_site(measured, site)
        places = {row.at: row.place for row in measured}
        if not places:
            continue
        nearest = min(places, key=lambda at: sum(abs(places[at][key] - wanted.at[key]) for key in wanted.at))
        of_site = rows if site is None else at_site(rows, site)
        panel = panel_at(Figure("overview", "metric", eval_name, wanted.metric, ""), of_site, nearest)
        # A level over all places would stretch the axis, and says less than one at this very place.
        here = tuple(level for level in panel.references if not level.everywhere)
        panel = dataclasses.replace(panel, references=here or panel.references)
        if panel.points:
            parts.append(OverviewPart(panel, next(row for row in measured if row.at == nearest), site))
    return parts


def _most_common_site(rows: Sequence[Row]) -> str | None:
    """Of several sites that of most SAEs, the first of those with equally many; None where there is one."""
    sites = sites_of(rows)
    counts = {site: len({row.sae for row in at_site(rows, site)}) for site in sites}
    return max(sites, key=lambda site: counts[site]) if len(sites) > 1 else None


def draw_overview(parts: Sequence[OverviewPart], style: Style) -> Any:
    """The picture as a Matplotlib figure: panels side by side, the legend below them."""
    from matplotlib.figure import Figure as MplFigure

    from sae_research.plots.axes import draw_panel
    from sae_research.plots.legend import legend_entries, legend_height
    from sae_research.plots.scale import find_scale

    panels = [part.panel for part in parts]
    scales = [find_scale([part.panel], part.example.direction) for part in parts]
    entries = legend_entries(panels, style, scales, colored=True, characters=48)
    columns = max(1, min(4, len(entries) // _LINES))
    in_a_column = entries[-math.ceil(len(entries) / columns) :]
    size = (max(_WIDTH, _PANEL_SIZE[0] * len(parts)), _PANEL_SIZE[1] + legend_height(in_a_column, style))
    drawing = MplFigure(figsize=size, layout="constrained")
    if not parts:
        drawing.text(0.5, 0.5, "Nothing to show: none of the overview's metrics was measured.", ha="center")
        return drawing
    for axes, part, scale in zip(drawing.subplots(1, len(parts), squeeze=False)[0], parts, scales, strict=True):
        draw_panel(axes, part.panel, style, scale, levels=reference_labels(panels))
        axes.set_title(textwrap.fill(part.title, int(120 / len(parts))), fontsize="medium")
        axes.set_xlabel("L0 (left is sparser)")
    drawing.legend(handles=entries, loc="outside lower center", ncols=columns, fontsize="small")
    return drawing


def _numbers(parts: Sequence[OverviewPart]) -> dict[str, Any]:
    """What the picture shows, as numbers."""
    return {
        "panels": [
            {
                "eval": part.example.eval,
                "title": column_title(part.example),
                "saes": [
                    {"sae": p.sae, "source": p.source, "l0": p.l0, "value": p.value, "ci_low": p.low, "ci_high": p.high}
                    for p in part.panel.points
                ],
                "references": [{"label": level.label, "value": level.level} for level in part.panel.references],
            }
            for part in parts
        ]
    }
