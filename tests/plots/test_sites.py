"""SAEs of several sites in one table: every picture tells them apart."""

from __future__ import annotations

from typing import Any

import pytest

from sae_research.plots.axes import curves
from sae_research.plots.choice import choice_text, choose_saes
from sae_research.plots.draw import draw_figure, plain_matplotlib
from sae_research.plots.overview import draw_overview, overview_parts
from sae_research.plots.points import find_panels
from sae_research.plots.settings import VisualizationSettings
from sae_research.plots.style import find_style
from sae_research.results.figures import Figure, planned_figures
from sae_research.results.rows import Row

SETTINGS = VisualizationSettings(dpi=50)
SITES = ("blocks.2.hook_resid_post", "blocks.10.hook_resid_post")


@pytest.fixture
def table(row: Any) -> list[Row]:
    """Two widths of TopK at each of two sites, under core, probing and absorption; the later site is not absorbed."""
    rows = []
    for layer, site in enumerate(SITES):
        for name, l0, d_sae in (("a", 8.0, 512), ("b", 16.0, 512), ("c", 8.0, 4096), ("d", 16.0, 4096)):
            sae: dict[str, Any] = {"hook_name": site, "l0": l0, "d_sae": d_sae}
            who, score = f"{name}{layer}", 0.5 + 0.1 * layer + l0 / 100
            rows.append(row(who, "explained_variance", score, **sae))
            for k in (1, 5):
                at: dict[str, Any] = {"eval": "sparse_probing", "at": f'{{"k": {k}}}', **sae}
                rows.append(row(who, "sae_top_k_test_accuracy", score, **at))
                level = {**at, "headline": False}
                rows.append(row(who, "llm_top_k_test_accuracy", 0.6 + 0.1 * layer, **level))
            for letter in ("x", "y") if layer == 0 or name == "a" else ():
                place = {"eval": "absorption", "at": f'{{"letter": "{letter}"}}', "column": None, **sae}
                rows.append(row(who, "absorption_fraction_score", score, **place))
    return rows


def test_a_panel_shows_one_site_with_its_own_reference(table: list[Row]) -> None:
    probing = Figure("p", "metric", "sparse_probing", "sae_top_k_test_accuracy", "c")
    panels = find_panels(probing, table, VisualizationSettings(k_values=(1, 5)))
    assert [panel.title for panel in panels] == [f"k = {k}, {site}" for k in (1, 5) for site in SITES]
    assert [{point.sae[-1] for point in panel.points} for panel in panels] == [{"0"}, {"1"}] * 2
    assert [[level.level for level in panel.references] for panel in panels] == [[0.6], [0.7]] * 2
    assert [[point.sae for point in curve] for curve in curves(panels[0].points)] == [["a0", "b0"], ["c0", "d0"]]


def test_one_site_has_no_name_in_titles(table: list[Row]) -> None:
    core = Figure("p", "metric", "core", "explained_variance", "c")
    first = [row for row in table if row.hook_name == SITES[0]]
    assert [panel.title for panel in find_panels(core, first, SETTINGS)] == [""]
    assert [panel.title for panel in find_panels(core, table, SETTINGS)] == [*SITES]


def test_of_each_architecture_one_sae_a_site(table: list[Row]) -> None:
    rows = [row for row in table if row.metric == "explained_variance"]
    assert [one.title for one in choose_saes(rows)] == [f"TopK, L0 16, {site}" for site in SITES]
    assert choice_text(rows) == "; of each architecture and site the SAE with L0 nearest 12"


def test_heat_maps_name_the_site_of_each_line(table: list[Row]) -> None:
    (figure,) = [figure for figure in planned_figures(table) if figure.kind == "heatmap"]
    with plain_matplotlib(SETTINGS):
        drawing = draw_figure(figure, table, find_style(table, SETTINGS))
    names = [label.get_text() for label in drawing.axes[0].get_yticklabels()]
    assert names == [f"TopK, L0 {l0}, {SITES[0]}" for l0 in (8, 8, 16, 16)] + [f"TopK, L0 8, {SITES[1]}"]


def test_the_overview_has_a_line_of_panels_for_each_site(table: list[Row]) -> None:
    parts = overview_parts(table)
    assert [(part.example.eval, part.site) for part in parts] == [
        (name, site) for name in ("sparse_probing", "core") for site in SITES
    ]
    with plain_matplotlib(SETTINGS):
        drawing = draw_overview(parts, find_style(table, SETTINGS))
        drawing.draw_without_rendering()
    titles = [axes.get_title().replace("\n", " ") for axes in drawing.axes if axes.get_visible()]
    assert [title.rsplit(" at ", 1)[1].split(" ")[0] for title in titles] == [SITES[0], SITES[0], SITES[1], SITES[1]]
