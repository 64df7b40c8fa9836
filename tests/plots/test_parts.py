"""Pictures of metrics' parts: curves over n, letters, attributes, the trade-off of unlearning."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from sae_research.evals.base import PartsFigure
from sae_research.plots.choice import choice_text, choose_saes, reference_l0
from sae_research.plots.draw import draw_figure, plain_matplotlib
from sae_research.plots.points import find_panels, reference_labels
from sae_research.plots.settings import VisualizationSettings
from sae_research.plots.style import find_style
from sae_research.plots.tradeoff import unbeaten
from sae_research.results.figures import planned_figures
from sae_research.results.rows import Row

SMALL = VisualizationSettings(dpi=50)
SAES = [("a8", "topk", 8.0, 0.0), ("a40", "topk", 40.0, 0.0), ("b", "relu", 20.0, 0.0), ("c", "ihtp", 90.0, 0.9)]
LOWER = {"direction": "lower", "headline": False, "column": None}
PART = {"headline": False, "column": None}


def _at(**place: Any) -> str:
    return json.dumps(place, sort_keys=True)


def _around(value: float) -> dict[str, float]:
    return {"ci_low": value - 0.05, "ci_high": value + 0.05}


@pytest.fixture
def table(row: Any) -> list[Row]:
    """Four SAEs under the optional evals."""
    rows: list[Row] = []
    for i, (name, kind, l0, share) in enumerate(SAES):

        def add(metric: str, value: float, name: str = name, **more: Any) -> None:
            rows.append(row(name, metric, value, **_around(value), **more))

        sae: dict[str, Any] = {"architecture": kind, "l0": l0, "interpolates": share}
        for n in (2, 10, 500):
            about = {"eval": "scr", "at": _at(n=n), "column": f"scr_metric_threshold_{n}", **sae}
            add("scr_metric", 0.1 * i + n / 1000, **about)
            add("scr_metric", 0.2, **{**about, "at": _at(n=n, dataset="x"), **PART})
        for j, letter in enumerate("abz"[: 3 - i % 2]):
            add("absorption_fraction_score", 0.1 * j, eval="absorption", at=_at(letter=letter), **sae, **LOWER)
        about = {"eval": "absorption", "direction": "lower", "title": "Absorption (lower is better)", **sae}
        add("mean_absorption_fraction_score", 0.1 + i / 50, **about)
        for attribute in ("country", "language"):
            place = {"entity": "city", "attribute": attribute}
            add("disentanglement_score", 0.6 + i / 50, eval="ravel", at=_at(**place), **sae, **PART)
            noop = {"eval": "ravel", "at": _at(baseline="noop", **place), **sae, **PART}
            add("baseline_disentanglement_score", 0.4 if attribute == "country" else 0.3, **noop)
        for baseline, level in (("noop", 0.5), ("mdas", 0.9)):
            about = {"eval": "ravel", "at": _at(baseline=baseline), **sae, **PART}
            add("baseline_disentanglement_score", level, **about)
        add("disentanglement_score", 0.65, eval="ravel", **sae)
        for multiplier, forget, retain in ((10, 0.9, 1.0), (50, 0.5, 0.9), (100, 0.6, 0.8)):
            about = {"eval": "unlearning", "at": _at(n=10, retain_threshold=0.01, multiplier=multiplier), **sae, **PART}
            add("forget_accuracy", forget, **{**about, "direction": "lower"})
            add("side_effect_accuracy", retain, **about)
    return rows


def _figure(rows: list[Row], name: str) -> Any:
    (figure,) = [figure for figure in planned_figures(rows) if figure.name == name]
    with plain_matplotlib(SMALL):
        drawing = draw_figure(figure, rows, find_style(rows, SMALL))
        drawing.draw_without_rendering()
    return drawing


def _texts(drawing: Any) -> list[str]:
    return [text.get_text().replace("\n", " ") for text in drawing.legends[0].get_texts()]


def _bars(axes: Any) -> int:
    return sum(len(container[2][0].get_segments()) for container in axes.containers)


PARTS = [
    "scr_scr_metric_by_n",
    "absorption_absorption_fraction_score_by_letter",
    "ravel_disentanglement_score_by_attribute",
    "unlearning_forget_accuracy_tradeoff",
]


def _of_parts(rows: list[Row]) -> list[str]:
    return [figure.name for figure in planned_figures(rows) if figure.parts is not None]


def test_pictures_of_parts_are_there_when_the_rows_are_curves_first_then_heat_maps(
    table: list[Row], fleet: list[Row]
) -> None:
    assert _of_parts(table) == PARTS
    assert _of_parts(fleet) == []
    whole = [row for row in table if row.column is not None]
    assert _of_parts(whole) == ["scr_scr_metric_by_n"], "its n are columns too"


def test_of_each_architecture_the_sae_nearest_the_median_l0(table: list[Row]) -> None:
    assert reference_l0(table) == 20, "the one that interpolates does not count"
    assert [one.rows[0].sae for one in choose_saes(table)] == ["b", "a40", "c"]
    assert [one.title for one in choose_saes(table)] == ["ReLU, L0 20", "TopK, L0 40", "IHTP, L0 90"]
    assert choice_text(table) == "; of each architecture the SAE with L0 nearest 20"
    assert choice_text([row for row in table if row.sae in {"b", "c"}]) == ""


def test_an_sae_that_interpolates_stands_for_its_kind_only_alone(row: Any) -> None:
    rows = [row("exact", "m", 1.0, l0=10.0, interpolates=1.0), row("far", "m", 1.0, l0=300.0)]
    rows += [row(f"o{i}", "m", 1.0, l0=10.0, label="other") for i in range(3)]
    assert [one.rows[0].sae for one in choose_saes(rows)] == ["far", "o0"]


def test_a_curve_has_a_line_and_intervals_for_each_architecture(table: list[Row]) -> None:
    drawing = _figure(table, "scr_scr_metric_by_n")
    axes = drawing.axes[0]
    lines = [line for line in axes.lines if line.get_marker() in (None, "None", "")]
    assert list(lines[0].get_ydata()) == pytest.approx([0.202, 0.21, 0.7])
    assert len(lines) == 3
    assert _bars(axes) == 9
    assert _texts(drawing) == ["ReLU, L0 20", "TopK, L0 40", "IHTP, L0 90"]
    assert "higher is better" in axes.get_ylabel()
    assert [text.get_text() for text in axes.get_xticklabels()] == ["2", "10", "500"]


def test_letters_are_shades_by_sae_with_the_mean_beside(table: list[Row]) -> None:
    drawing = _figure(table, "absorption_absorption_fraction_score_by_letter")
    shades, means, bar = drawing.axes
    values = shades.images[0].get_array()
    assert values.shape == (4, 3)
    assert values[0].tolist() == [0.0, 0.1, 0.2]
    assert values.mask.sum() + int((values != values).sum()) == 2, "two SAEs lack one letter"
    assert [text.get_text() for text in shades.get_yticklabels()][-1] == "IHTP †, L0 90"
    assert "† interpolates" in drawing._suptitle.get_text().replace("\n", " ")
    assert _bars(means) == 4
    assert (shades.get_xlabel(), means.get_xlabel()) == ("First letter", "Mean over letters")
    assert bar.get_ylabel().count("lower is better") == 1


def test_a_heat_map_without_a_declared_mean_has_no_panel_beside(table: list[Row]) -> None:
    (figure,) = [f for f in planned_figures(table) if f.kind == "heatmap"]
    assert figure.parts is not None
    parts = dataclasses.replace(figure.parts, mean=None)
    with plain_matplotlib(SMALL):
        drawing = draw_figure(dataclasses.replace(figure, parts=parts), table, find_style(table, SMALL))
        drawing.draw_without_rendering()
    assert [axes.get_xlabel() for axes in drawing.axes] == ["First letter", ""], "the colour bar is the other one"


def test_a_curve_takes_places_that_are_words(table: list[Row]) -> None:
    (figure,) = [f for f in planned_figures(table) if f.kind == "curve"]
    rows = [
        dataclasses.replace(row, at=_at(step={2: "early", 10: "late"}[row.place["n"]]))
        for row in table
        if row.eval == "scr" and row.place in ({"n": 2}, {"n": 10})
    ]
    parts = PartsFigure("curve", "scr_metric", ("step",), "by_step", "SCR by step", "Step")
    with plain_matplotlib(SMALL):
        drawing = draw_figure(dataclasses.replace(figure, parts=parts), rows, find_style(rows, SMALL))
        drawing.draw_without_rendering()
    assert [text.get_text() for text in drawing.axes[0].get_xticklabels()] == ["early", "late"]


def test_attributes_have_panels_with_their_own_baselines(table: list[Row]) -> None:
    (figure,) = [f for f in planned_figures(table) if f.kind == "panels"]
    panels = find_panels(figure, table, SMALL)
    assert [panel.title for panel in panels] == ["city: country", "city: language"]
    levels = [{r.label: r.level for r in panel.references} for panel in panels]
    assert levels[0] == {"Learned rotation, all attributes (MDAS)": 0.9, "Nothing replaced": 0.4}
    assert levels[1]["Nothing replaced"] == 0.3
    assert len(reference_labels(panels)) == 2
    drawing = _figure(table, figure.name)
    assert "Nothing replaced" in _texts(drawing)


def test_over_all_attributes_the_baselines_are_those_over_all(table: list[Row]) -> None:
    (figure,) = [f for f in planned_figures(table) if f.name == "ravel_disentanglement_score"]
    (panel,) = find_panels(figure, table, SMALL)
    assert {r.label: r.level for r in panel.references}["Nothing replaced"] == 0.5


def test_baselines_have_their_intervals_beside_each_other(table: list[Row]) -> None:
    axes = _figure(table, "ravel_disentanglement_score").axes[0]
    bars = [segment for lines in axes.collections if len(lines.get_segments()) == 1 for segment in lines.get_segments()]
    across = [(bar[0][0], *sorted(end[1] for end in bar)) for bar in bars if bar[0][0] == bar[1][0] < 1]
    assert sorted(bar[1:] for bar in across) == [pytest.approx((0.45, 0.55)), pytest.approx((0.85, 0.95))]
    assert len({place for place, *_ in across}) == 2


def test_a_tradeoff_joins_the_settings_that_no_other_beats(table: list[Row]) -> None:
    drawing = _figure(table, "unlearning_forget_accuracy_tradeoff")
    axes = drawing.axes[0]
    joined = [line for line in axes.lines if line.get_marker() in (None, "None", "")]
    assert [list(line.get_xdata()) for line in joined] == [[0.5, 0.9]] * 3
    assert [list(line.get_ydata()) for line in joined] == [[0.9, 1.0]] * 3
    assert "lower is better" in axes.get_xlabel()
    assert "higher is better" in axes.get_ylabel()
    assert _bars(axes) == 12, "two settings of three SAEs, to both sides"


def test_a_metric_against_another_has_all_saes_and_the_line_of_equal_numbers(row: Any) -> None:
    rows = [
        row(f"s{i}", metric, value, eval="sensitivity", at=at, column=f"{metric}{at}", ci_low=value - 0.1,
            ci_high=value + 0.1, headline=metric == "sensitivity")
        for i in range(3)
        for at in ('{"percent": 0}', '{"percent": 50}')
        for metric, value in (("sensitivity", 0.5 + i / 10), ("sensitivity_original", 0.9 - i / 10))
    ]  # fmt: skip
    drawing = _figure(rows, "sensitivity_sensitivity_against_original")
    shown = [axes for axes in drawing.axes if axes.get_visible()]
    assert [axes.get_title() for axes in shown] == ["percent = 0", "percent = 50"]
    axes = shown[0]
    points = [line for line in axes.lines if line.get_zorder() == 4]
    assert [(*line.get_xdata(), *line.get_ydata()) for line in points] == [
        pytest.approx(pair) for pair in ((0.9, 0.5), (0.8, 0.6), (0.7, 0.7))
    ]
    assert list(axes.lines[0].get_xdata()) == list(axes.lines[0].get_ydata())
    assert axes.get_xlim() == axes.get_ylim() and _bars(axes) == 6
    assert _texts(drawing)[-1] == "both are equal"


def test_who_is_beaten_by_hand(row: Any) -> None:
    class Setting:
        def __init__(self, x: float, y: float) -> None:
            self.x, self.y = row("s", "f", x), row("s", "k", y)

    settings: Any = [Setting(0.5, 0.9), Setting(0.4, 0.7), Setting(0.6, 0.9), Setting(0.4, 0.8), Setting(1.0, 1.0)]
    assert [(s.x.value, s.y.value) for s in unbeaten(settings)] == [(0.4, 0.8), (0.5, 0.9), (1.0, 1.0)]


def test_lower_is_better_is_said_once(table: list[Row]) -> None:
    label = _figure(table, "absorption_mean_absorption_fraction_score").axes[0].get_ylabel()
    assert label.replace("\n", " ").count("lower is better") == 1
