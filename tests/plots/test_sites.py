"""SAEs of several sites in one table: pictures that show some SAEs or one a line tell them apart."""

from __future__ import annotations

from typing import Any

import pytest

from sae_research.plots.choice import choice_text, choose_saes
from sae_research.plots.draw import draw_figure, plain_matplotlib
from sae_research.plots.settings import VisualizationSettings
from sae_research.plots.style import find_style
from sae_research.results.figures import planned_figures
from sae_research.results.rows import Row

SETTINGS = VisualizationSettings(dpi=50)
SITES = ("blocks.2.hook_resid_post", "blocks.10.hook_resid_post")


@pytest.fixture
def table(row: Any) -> list[Row]:
    """Two L0 and two widths of TopK at each of two sites."""
    rows = []
    for layer, site in enumerate(SITES):
        for name, l0, d_sae in (("a", 8.0, 512), ("b", 16.0, 512), ("c", 8.0, 4096), ("d", 16.0, 4096)):
            sae: dict[str, Any] = {"hook_name": site, "l0": l0, "d_sae": d_sae}
            rows.append(row(f"{name}{layer}", "explained_variance", 0.5, **sae))
            for letter in "xy":
                place = {"eval": "absorption", "at": f'{{"letter": "{letter}"}}', "column": None, **sae}
                rows.append(row(f"{name}{layer}", "absorption_fraction_score", 0.3, **place))
    return rows


def test_of_each_architecture_one_sae_a_site(table: list[Row]) -> None:
    rows = [row for row in table if row.metric == "explained_variance"]
    assert [one.title for one in choose_saes(rows)] == [f"TopK, L0 16, {site}" for site in SITES]
    assert choice_text(rows) == "; of each architecture and site the SAE with L0 nearest 12"
    first = [row for row in rows if row.hook_name == SITES[0]]
    assert [one.title for one in choose_saes(first)] == ["TopK, L0 16"]


def test_heat_maps_name_the_site_of_each_line(table: list[Row]) -> None:
    (figure,) = [figure for figure in planned_figures(table) if figure.kind == "heatmap"]
    with plain_matplotlib(SETTINGS):
        drawing = draw_figure(figure, table, find_style(table, SETTINGS))
    names = [label.get_text() for label in drawing.axes[0].get_yticklabels()]
    assert names == [f"TopK, L0 {l0}, {site}" for site in SITES for l0 in (8, 8, 16, 16)]
