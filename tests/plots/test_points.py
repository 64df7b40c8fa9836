from __future__ import annotations

from typing import Any

import pytest

from sae_research.plots.axes import curves
from sae_research.plots.points import Panel, Point, Reference, find_panels
from sae_research.plots.scale import Scale, edge_levels, find_scale, without_outliers
from sae_research.plots.settings import VisualizationSettings
from sae_research.results.figures import Figure, planned_figures
from sae_research.results.rows import Row

LOSS = Figure("core_ce_loss_score", "metric", "core", "ce_loss_score", "c")
PROBES = Figure("p", "metric", "sparse_probing", "sae_top_k_test_accuracy", "c")


def _points(values: list[float], **more: Any) -> tuple[Point, ...]:
    about = {"interpolates": "no", "low": None, "high": None, **more}
    return tuple(Point("s", "topk", "computed", 512, l0=8.0, value=value, **about) for value in values)


def test_pictures_follow_from_the_table_alone(fleet: list[Row]) -> None:
    assert [figure.name for figure in planned_figures(fleet)] == [
        "core_ce_loss_score",
        "core_ce_loss_increase",
        "core_mse",
        "sparse_probing_sae_top_k_test_accuracy",
        "loss_by_core_ce_loss_score",
        "loss_by_core_mse",
        "loss_by_sparse_probing_sae_top_k_test_accuracy",
    ]


def test_a_metric_at_several_places_has_a_panel_each_in_the_order_of_numbers(fleet: list[Row]) -> None:
    panels = find_panels(PROBES, fleet, VisualizationSettings())
    assert [panel.title for panel in panels] == ["k = 1", "k = 2", "k = 10"]


def test_k_values_choose_panels(fleet: list[Row]) -> None:
    panels = find_panels(PROBES, fleet, VisualizationSettings(k_values=(10, 3)))
    assert [panel.title for panel in panels] == ["k = 10"]
    assert find_panels(PROBES, fleet, VisualizationSettings(k_values=(3,))) == []


def test_n_values_leave_k_alone(fleet: list[Row]) -> None:
    assert len(find_panels(PROBES, fleet, VisualizationSettings(n_values=(7,)))) == 3


def test_the_models_own_accuracy_is_the_reference_at_the_same_place(fleet: list[Row]) -> None:
    panel = find_panels(PROBES, fleet, VisualizationSettings(k_values=(2,)))[0]
    assert [(r.label, r.level) for r in panel.references] == [
        ("llm test accuracy", 0.97),
        ("llm top k test accuracy", 0.64),
    ]


def test_an_sae_without_l0_is_named_as_hidden(fleet: list[Row]) -> None:
    panel = find_panels(PROBES, fleet, VisualizationSettings())[0]
    assert panel.hidden == ("lost",)
    assert len(panel.points) == 6


@pytest.mark.parametrize("l0", [None, 0.0])
def test_an_l0_that_has_no_logarithm_has_no_place(l0: float | None, row: Any) -> None:
    (panel,) = find_panels(LOSS, [row("a", "ce_loss_score", 0.9, l0=l0)], VisualizationSettings())
    assert (panel.points, panel.hidden) == ((), ("a",))


def test_the_parts_of_a_metric_are_not_drawn(row: Any) -> None:
    rows = [row("a", "ce_loss_score", 0.9), row("a", "ce_loss_score", 0.1, at='{"dataset": "d"}', column=None)]
    panels = find_panels(LOSS, rows, VisualizationSettings())
    assert [[p.value for p in panel.points] for panel in panels] == [[0.9]]


def test_the_loss_is_the_height_and_the_metric_the_shade(fleet: list[Row]) -> None:
    figure = Figure("f", "loss", "core", "mse", "c")
    (panel,) = find_panels(figure, fleet, VisualizationSettings())
    first = panel.points[0]
    assert (first.value, first.shade) == (pytest.approx(0.28), pytest.approx(28.4))


def test_curves_rise_in_l0_and_leave_out_who_interpolates(fleet: list[Row]) -> None:
    (panel,) = find_panels(LOSS, fleet, VisualizationSettings())
    joined = curves(panel.points)
    assert [[point.l0 for point in curve] for curve in joined] == [[8.0, 16.0, 32.0]]


def test_widths_and_sources_are_not_joined() -> None:
    a, b = _points([0.1, 0.2])
    assert len(curves([a, b])) == 1
    wide = Point("s", "topk", "computed", 1024, 8.0, 0.2, None, None, "no")
    published = Point("s", "topk", "published", 512, 8.0, 0.2, None, None, "no")
    assert curves([a, wide, published]) == []


def test_a_lone_outlier_stands_at_the_edge() -> None:
    values = [0.80, 0.84, 0.86, 0.88, 0.90, 0.92, 0.94]
    scale = find_scale([Panel("", _points([*values, -2.0]))], "higher")
    assert all(scale.shows(value) for value in values)
    assert not scale.shows(-2.0)
    assert scale.low < scale.clamp(-2.0) < 0.80
    assert scale.clamp(0.84) == 0.84


def test_values_beyond_the_edge_are_stacked_where_they_would_meet() -> None:
    near, far, apart = (
        Point(name, "topk", "computed", 512, l0, value, None, None, "no")
        for name, l0, value in (("near", 16.0, 0.7), ("far", 17.0, 0.2), ("apart", 60.0, 0.1))
    )
    scale = Scale(0.9, 1.0)
    levels = edge_levels([near, far, apart, *_points([0.95])], scale, width=2.0)
    assert levels == {far: 0, near: 1, apart: 0}
    assert scale.low < scale.clamp(far.value, 0) < scale.clamp(near.value, 1) < scale.high
    assert scale.clamp(2.0, 1) < scale.clamp(2.0) < scale.high, "from above they come down"


def test_many_far_values_are_no_outliers() -> None:
    values = [0.9, 0.91, 0.92, 0.93, 0.94, 0.95, 0.1, 0.12, 0.15]
    scale = find_scale([Panel("", _points(values))], "higher")
    assert all(scale.shows(value) for value in values)


def test_few_points_are_never_outliers() -> None:
    assert without_outliers([0.9, 0.91, -5.0]) == [0.9, 0.91, -5.0]


def test_an_interpolating_sae_does_not_stretch_the_scale() -> None:
    panel = Panel("", _points([10.0, 12.0, 14.0]) + _points([100.0], interpolates="most"))
    assert not find_scale([panel], "higher").shows(100.0)
    assert find_scale([Panel("", _points([100.0], interpolates="most"))], "higher").shows(100.0), "when alone it does"


def test_reference_levels_and_intervals_are_always_on_the_scale() -> None:
    panel = Panel("", _points([0.5], low=0.4, high=0.6), (Reference("r", 0.99, everywhere=True),))
    scale = find_scale([panel], "higher")
    assert scale.shows(0.99)
    assert scale.shows(0.4)


def test_errors_over_decades_get_a_logarithmic_scale() -> None:
    panel = Panel("", _points([0.01, 1.0, 100.0]))
    assert find_scale([panel], "lower").log
    assert not find_scale([panel], "higher").log
    assert not find_scale([Panel("", _points([0.0, 1.0, 100.0]))], "lower").log
