from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from support.workspace import Workspace, make_core

from sae_research.pipeline.stages.process_results import process_results
from sae_research.pipeline.stages.visualize import visualize
from sae_research.plots.draw import axis_label, draw_all, draw_figure, plain_matplotlib
from sae_research.plots.settings import VisualizationSettings
from sae_research.plots.style import LABELS, find_style
from sae_research.results.figures import planned_figures
from sae_research.results.rows import Row, table_as_parquet

SMALL = VisualizationSettings(dpi=50)


def _write(rows: list[Row], folder: Path) -> Path:
    path = folder / "results.parquet"
    path.write_bytes(table_as_parquet(rows))
    return path


def _draw(rows: list[Row], folder: Path, settings: VisualizationSettings = SMALL) -> list[Path]:
    return draw_all(_write(rows, folder), folder / "images", settings, scratch=folder / "scratch")


def _digests(paths: list[Path]) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


def _figure(rows: list[Row], name: str, settings: VisualizationSettings = SMALL) -> Any:
    (figure,) = [figure for figure in planned_figures(rows) if figure.name == name]
    with plain_matplotlib(settings):
        drawing = draw_figure(figure, rows, find_style(rows, settings))
        drawing.draw_without_rendering()
    return drawing


def _markers(axes: Any) -> dict[float, Any]:
    """The markers in `axes` by their L0."""
    return {line.get_xdata()[0]: line for line in axes.lines if line.get_marker() not in (None, "None", "")}


def test_images_hold_the_planned_pictures_and_nothing_else(fleet: list[Row], tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "old.png").write_bytes(b"x")
    drawn = _draw(fleet, tmp_path)
    assert [path.stem for path in drawn] == [figure.name for figure in planned_figures(fleet)]
    assert sorted((tmp_path / "images").iterdir()) == sorted(drawn)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)


def test_pictures_are_the_same_bytes_each_time(fleet: list[Row], tmp_path: Path) -> None:
    settings = VisualizationSettings(dpi=50, extra_formats=("svg", "pdf"))
    chosen = [row for row in fleet if row.metric in {"ce_loss_increase", "mse"}]
    first = _digests(_draw(chosen, tmp_path, settings))
    assert _digests(_draw(chosen, tmp_path, settings)) == first
    assert len(first) == 9, "three pictures in three formats"


def test_a_users_matplotlibrc_changes_nothing(fleet: list[Row], tmp_path: Path) -> None:
    import matplotlib as mpl

    chosen = [row for row in fleet if row.metric == "ce_loss_score"]
    first = _digests(_draw(chosen, tmp_path))
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "black", "lines.linewidth": 9}):
        assert _digests(_draw(chosen, tmp_path)) == first
        assert mpl.rcParams["font.size"] == 30, "and is left as it was"


def test_pictures_carry_no_program_version(fleet: list[Row], tmp_path: Path) -> None:
    for path in _draw([row for row in fleet if row.metric == "ce_loss_score"], tmp_path):
        assert b"Matplotlib" not in path.read_bytes()


@pytest.mark.parametrize("count", [1, 40])
def test_the_legend_never_overlaps_a_panel_nor_leaves_the_picture(count: int, fleet: list[Row], row: Any) -> None:
    names = [f"architecture number {i % 14}" for i in range(count)]
    extra = [
        row(f"s{i}", "ce_loss_score", 0.8 + i / 400, architecture=name, l0=4.0 + i, d_sae=512 << (i % 3))
        for i, name in enumerate(names)
    ]
    rows = [*fleet, *extra] if count > 1 else extra
    drawing = _figure(rows, "core_ce_loss_score")
    (legend,) = drawing.legends
    box = legend.get_window_extent()
    frame = drawing.bbox
    assert box.x0 >= frame.x0
    assert box.x1 <= frame.x1
    assert box.y0 >= frame.y0
    assert box.y1 <= frame.y1
    for axes in drawing.axes:
        assert not box.overlaps(axes.get_tightbbox())
    assert not box.overlaps(drawing._suptitle.get_window_extent())


def test_every_architecture_is_in_the_legend(fleet: list[Row]) -> None:
    drawing = _figure(fleet, "core_ce_loss_score")
    texts = [text.get_text() for text in drawing.legends[0].get_texts()]
    assert texts[:3] == ["TopK", "JumpReLU", "IHTP"]
    assert any(text.startswith("hollow: interpolates") for text in texts)


def test_who_interpolates_is_hollow_and_the_others_are_full(fleet: list[Row]) -> None:
    markers = _markers(_figure(fleet, "core_ce_loss_score").axes[0])
    assert markers[90.0].get_markerfacecolor() == "white"
    assert markers[40.0].get_markerfacecolor() != "white"


def test_who_interpolates_in_part_is_half_filled(row: Any) -> None:
    rows = [row("a", "ce_loss_score", 0.9, interpolates=0.2)]
    assert _markers(_figure(rows, "core_ce_loss_score").axes[0])[8.0].get_fillstyle() == "left"


def test_intervals_are_drawn_and_can_be_left_out(fleet: list[Row]) -> None:
    def bars(settings: VisualizationSettings) -> int:
        drawn = _figure(fleet, "core_ce_loss_score", settings).axes[0].containers
        return sum(len(container[2][0].get_segments()) for container in drawn)

    assert bars(SMALL) == 5, "six SAEs, of which one interpolates and lies beyond the scale"
    assert bars(VisualizationSettings(error_bars=False)) == 0


def test_l0_is_logarithmic_and_directions_are_told(fleet: list[Row]) -> None:
    axes = _figure(fleet, "core_mse").axes[0]
    assert axes.get_xscale() == "log"
    assert "lower is better" in axes.get_ylabel()
    assert "[squared activation]" in axes.get_ylabel()
    assert "higher is better" in _figure(fleet, "core_ce_loss_score").axes[0].get_ylabel()


def test_the_models_level_is_a_line_in_each_panel(fleet: list[Row]) -> None:
    drawing = _figure(fleet, "sparse_probing_sae_top_k_test_accuracy")
    for axes, best in zip(drawing.axes, (0.62, 0.64, 0.8), strict=True):
        levels = sorted(line.get_ydata()[0] for line in axes.lines if list(line.get_xdata()) == [0, 1])
        assert levels == pytest.approx([best, 0.97])


def test_colours_and_markers_come_from_the_settings(fleet: list[Row]) -> None:
    settings = VisualizationSettings(colors={"jumprelu": "#123456"}, markers={"jumprelu": "p"})
    marker = _markers(_figure(fleet, "core_ce_loss_score", settings).axes[0])[12.0]
    assert (marker.get_markerfacecolor(), marker.get_marker()) == ("#123456", "p")


def test_numbers_beyond_the_axis_are_not_written_over_one_another(row: Any) -> None:
    rows = [row(f"s{i}", "ce_loss_score", 0.95 + i / 1000, l0=8.0 + i) for i in range(10)]
    rows += [row("a", "ce_loss_score", 0.7, l0=12.0), row("b", "ce_loss_score", 0.2, l0=12.0, label="random")]
    texts = [text for text in _figure(rows, "core_ce_loss_score").axes[0].texts if "↓" in text.get_text()]
    first, second = (text.get_window_extent() for text in texts)
    assert not first.overlaps(second)


def test_a_label_has_its_own_marker_colour_and_name(row: Any) -> None:
    rows = [row("a", "ce_loss_score", 0.7), row("b", "ce_loss_score", 0.2, l0=12.0, label="random")]
    drawing = _figure(rows, "core_ce_loss_score")
    assert [text.get_text() for text in drawing.legends[0].get_texts()] == ["TopK", "Random"]
    assert _markers(drawing.axes[0])[12.0].get_marker() == LABELS["random"].marker


def test_an_architecture_without_a_marker_gets_one_that_none_has(row: Any) -> None:
    rows = [row("a", "mse", 1.0, architecture="relu"), row("b", "mse", 1.0, architecture="alpha")]
    style = find_style(rows, SMALL)
    assert style.markers["alpha"] != style.markers["relu"]


def test_an_architecture_without_a_colour_gets_the_same_spare_one_each_time(row: Any) -> None:
    rows = [row("a", "mse", 1.0, architecture="zeta"), row("b", "mse", 1.0, architecture="alpha")]
    style, turned = find_style(rows, SMALL), find_style(rows[::-1], SMALL)
    assert style == turned
    assert style.colors["alpha"] != style.colors["zeta"]


def test_points_in_a_picture_of_the_loss_are_coloured_by_the_metric(fleet: list[Row]) -> None:
    drawing = _figure(fleet, "loss_by_core_mse")
    markers = _markers(drawing.axes[0])
    assert markers[8.0].get_markerfacecolor() != markers[32.0].get_markerfacecolor()
    assert "mse [squared activation]" in drawing.axes[1].get_ylabel()


def test_a_picture_without_points_says_why(fleet: list[Row], row: Any) -> None:
    missing = _figure([row("a", "ce_loss_score", None, reason="x")], "core_ce_loss_score")
    assert "none has both an L0 above 0 and this metric" in missing.texts[-1].get_text()
    settings = VisualizationSettings(k_values=(7,))
    unasked = _figure(fleet, "sparse_probing_sae_top_k_test_accuracy", settings)
    assert "k_values" in unasked.texts[-1].get_text()


def test_a_table_without_headlines_has_no_pictures(tmp_path: Path) -> None:
    assert _draw([], tmp_path) == []
    assert list((tmp_path / "images").iterdir()) == []


def test_the_stage_reads_the_merged_results(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.add(make_core())
    process_results(workspace.paths, {"core": True})
    visualize(workspace.paths, SMALL)
    drawn = {path.name for path in workspace.paths.images.iterdir()}
    assert drawn == {"core_ce_loss_score.png", "core_explained_variance.png"}
    page = workspace.paths.explorer
    assert {path.name for path in page.iterdir()} == {"index.html", "data"}
    assert (page / "data" / "numbers-core.js").read_text().startswith('receiveChunk("numbers-core",')


def test_long_labels_are_broken_before_the_direction(row: Any) -> None:
    label = axis_label(row("a", "m", 1.0, title="A rather long name of a metric", unit="nats per token"))
    assert label == "A rather long name of a metric [nats per\ntoken]\n(higher is better)"
