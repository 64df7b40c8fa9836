"""Pictures of SAEs of several layers."""

from __future__ import annotations

from typing import Any

import pytest
from support.rows import make_row

from sae_research.plots.draw import draw_figure
from sae_research.plots.overview import overview_parts
from sae_research.plots.points import find_panels
from sae_research.plots.settings import VisualizationSettings
from sae_research.plots.style import find_style
from sae_research.results.figures import planned_figures
from sae_research.results.rows import Row

SITES = ("blocks.0.hook_resid_pre", "blocks.0.hook_resid_post", "blocks.3.hook_resid_pre")
SCORE = "disentanglement_score"
SETTINGS = VisualizationSettings()


def _rows() -> list[Row]:
    """Two architectures at depths 0, 1 and 3, one of them twice at each; baselines come with every SAE."""
    rows = []
    for depth, site in enumerate(SITES):
        for name, l0, value in (("topk", 8.0, 0.5), ("topk", 64.0, 0.9), ("relu", 60.0, 0.6)):
            about: dict[str, Any] = {"architecture": name, "hook_name": site, "l0": l0, "eval": "ravel"}
            sae, value = f"{name}_{l0:.0f}_{depth}", value - depth / 10
            rows.append(make_row(sae, SCORE, value, ci_low=value - 0.05, ci_high=value + 0.05, **about))
            rows.append(make_row(sae, "explained_variance", value, **{**about, "eval": "core"}))
            for attribute in ("Country", "Continent"):
                at = f'{{"attribute": "{attribute}", "entity": "city"}}'
                rows.append(make_row(sae, SCORE, value, at=at, **{**about, "column": None}))
            for baseline, level in (("noop", 0.5), ("neurons", 0.7 - depth / 10)):
                place = {"at": f'{{"baseline": "{baseline}"}}', "headline": False, **about, "column": None}
                rows.append(make_row(sae, f"baseline_{SCORE}", level, **place))
    return rows


def test_every_metric_has_a_picture_over_layers() -> None:
    names = [figure.name for figure in planned_figures(_rows())]
    assert names[-3:] == [
        f"layers_ravel_{SCORE}", "layers_core_explained_variance", f"layers_ravel_{SCORE}_by_attribute",
    ]  # fmt: skip
    one_site = [row for row in _rows() if row.hook_name == SITES[1]]
    assert not any(figure.kind == "layers" for figure in planned_figures(one_site))


def test_a_line_for_each_architecture_and_baseline() -> None:
    rows = _rows()
    figure = next(f for f in planned_figures(rows) if f.name == f"layers_ravel_{SCORE}")
    drawing = draw_figure(figure, rows, find_style(rows, SETTINGS))
    (axes,) = drawing.axes
    lines = [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines if len(line.get_xdata()) == 3]
    expected = {
        "topk, the one of middle L0": [0.9, 0.8, 0.7], "relu": [0.6, 0.5, 0.4],
        "noop": [0.5, 0.5, 0.5], "neurons": [0.7, 0.6, 0.5],
    }  # fmt: skip
    for name, values in expected.items():
        assert any(xs == [0, 1, 3] and ys == pytest.approx(values) for xs, ys in lines), name
    labels = [text.get_text().replace("\n", " ") for text in drawing.legends[0].get_texts()]
    assert labels == ["ReLU", "TopK", "Neurons", "Nothing replaced"]
    assert axes.get_xlabel() == "Layer (blocks before the site)"
    assert axes.get_title() == ""


def test_parts_have_a_panel_each() -> None:
    rows = _rows()
    figure = next(f for f in planned_figures(rows) if f.name == f"layers_ravel_{SCORE}_by_attribute")
    drawing = draw_figure(figure, rows, find_style(rows, SETTINGS))
    assert [axes.get_title() for axes in drawing.axes] == ["city: Continent", "city: Country"]


def test_pictures_against_l0_have_a_panel_for_each_site() -> None:
    rows = _rows()
    figure = next(f for f in planned_figures(rows) if f.name == f"ravel_{SCORE}")
    panels = find_panels(figure, rows, SETTINGS)
    assert [panel.title for panel in panels] == list(SITES)
    for depth, panel in enumerate(panels):
        assert {point.sae for point in panel.points} == {f"{n}_{depth}" for n in ("topk_8", "topk_64", "relu_60")}
        assert [(r.label, r.level) for r in panel.references] == [
            ("Neurons", pytest.approx(0.7 - depth / 10)), ("Nothing replaced", 0.5),
        ]  # fmt: skip
    by_attribute = next(f for f in planned_figures(rows) if f.name == f"ravel_{SCORE}_by_attribute")
    assert [panel.title for panel in find_panels(by_attribute, rows, SETTINGS)] == [
        f"city: {attribute}, {site}" for attribute in ("Continent", "Country") for site in SITES
    ]


def test_the_overview_shows_one_site_and_says_which() -> None:
    rows = [row for row in _rows() if row.sae != "relu_60_0"]
    (part,) = overview_parts(rows)
    assert part.title == f"explained variance ↑, {SITES[1]}"
    assert {point.sae for point in part.panel.points} == {"topk_8_1", "topk_64_1", "relu_60_1"}
