"""The overview: which panels it has, what it holds beside the pixels, and that the committed one is not stale."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sae_research.plots.draw import plain_matplotlib
from sae_research.plots.overview import LOOK, NUMBERS, draw_overview, overview_parts, write_overview
from sae_research.plots.settings import VisualizationSettings
from sae_research.plots.style import find_style
from sae_research.results.numbers import shown
from sae_research.results.rows import Row, table_as_parquet

ROOT = Path(__file__).parents[2]
DEFAULT = VisualizationSettings()
ALL = ["sparse_probing", "scr", "core"]


def _row(row: Any, sae: str, eval_name: str, metric: str, value: float | None, **more: Any) -> Row:
    about = {"ci_low": value - 0.01, "ci_high": value + 0.01} if value is not None else {"reason": "x"}
    return row(sae, metric, value, **about, **{"eval": eval_name, **more})


@pytest.fixture
def table(row: Any) -> list[Row]:
    """Three SAEs under the three evals of the overview, probing with the model's own accuracies; one interpolates."""
    rows: list[Row] = []
    for name, label, l0, share in (("a", "topk", 8.0, 0.0), ("b", "topk", 32.0, 0.0), ("c", "ihtp", 150.0, 1.0)):
        sae: dict[str, Any] = {"architecture": label, "l0": l0, "interpolates": share}
        score = 0.7 + l0 / 1000
        rows.append(_row(row, name, "core", "explained_variance", score, **sae))
        for k in (1, 5):
            at = {"at": f'{{"k": {k}}}', **sae}
            rows.append(_row(row, name, "sparse_probing", "sae_top_k_test_accuracy", score + k / 100, **at))
            rows.append(_row(row, name, "sparse_probing", "llm_top_k_test_accuracy", 0.6, **{**at, "headline": False}))
        rows.append(_row(row, name, "sparse_probing", "llm_test_accuracy", 0.99, **{**sae, "headline": False}))
        for n in (2, 10):
            rows.append(_row(row, name, "scr", "scr_metric", score - n / 100, at=f'{{"n": {n}}}', **sae))
    return rows


def _write(rows: list[Row], folder: Path, settings: VisualizationSettings = DEFAULT) -> Path:
    table, picture = folder / "results.parquet", folder / "docs" / "overview.png"
    table.write_bytes(table_as_parquet(rows))
    write_overview(table, picture, settings, scratch=folder / "scratch")
    return picture


def _panels(picture: Path) -> list[dict[str, Any]]:
    """The panels with their numbers, from the text in the PNG."""
    with Image.open(picture) as image:
        text: Any = image
        return json.loads(text.text[NUMBERS])["panels"]


def _drawing(rows: list[Row]) -> Any:
    look = VisualizationSettings(**LOOK)
    with plain_matplotlib(look):
        drawing = draw_overview(overview_parts(rows), find_style(rows, look))
        drawing.draw_without_rendering()
    return drawing


def test_the_declared_metrics_stand_side_by_side_each_at_its_place(table: list[Row], tmp_path: Path) -> None:
    panels = _panels(_write(table, tmp_path))
    assert [panel["eval"] for panel in panels] == ALL
    assert [[sae["value"] for sae in panel["saes"]] for panel in panels] == [
        pytest.approx([0.718, 0.742, 0.86]),
        pytest.approx([0.608, 0.632, 0.75]),
        pytest.approx([0.708, 0.732, 0.85]),
    ]
    assert panels[2]["saes"][0] == {
        "sae": "a", "source": "computed", "l0": 8.0, "value": 0.708, "ci_low": 0.698, "ci_high": 0.718
    }  # fmt: skip


def test_a_level_of_the_model_at_the_same_place_stands_for_the_one_over_all_places(table: list[Row]) -> None:
    probing, scr, core = (part.panel for part in overview_parts(table))
    assert [(r.label, r.level) for r in probing.references] == [("llm top k test accuracy", 0.6)]
    assert scr.references == core.references == ()
    without = [row for row in table if row.metric != "llm_top_k_test_accuracy"]
    assert [r.level for r in overview_parts(without)[0].panel.references] == [0.99]


def test_where_the_place_was_not_measured_the_nearest_is_shown(table: list[Row]) -> None:
    rows = [row for row in table if row.at not in {'{"k": 1}', '{"n": 10}'}]
    assert [part.example.at for part in overview_parts(rows)] == ['{"k": 5}', '{"n": 2}', "{}"]


@pytest.mark.parametrize("missing", ALL)
def test_an_eval_that_is_off_has_no_panel(missing: str, table: list[Row], tmp_path: Path) -> None:
    rows = [row for row in table if row.eval != missing]
    assert [panel["eval"] for panel in _panels(_write(rows, tmp_path))] == [name for name in ALL if name != missing]


def test_a_table_without_any_of_the_metrics_gives_a_picture_that_says_so(fleet: list[Row], tmp_path: Path) -> None:
    rows = [row for row in fleet if row.eval == "core"]
    assert _panels(_write(rows, tmp_path)) == []
    assert "Nothing to show" in _drawing(rows).texts[0].get_text()
    assert _panels(_write([], tmp_path)) == []


def test_cells_that_failed_and_saes_without_l0_leave_the_others_in_place(table: list[Row], row: Any) -> None:
    rows = [
        *table,
        row("lost", "x", None, metric=None, column=None, headline=False, reason="no file", l0=None),
        _row(row, "unknown", "scr", "scr_metric", 0.3, at='{"n": 10}', l0=None),
        _row(row, "gap", "core", "explained_variance", None, l0=4.0),
    ]
    parts = overview_parts(rows)
    assert [len(part.panel.points) for part in parts] == [3, 3, 3]
    texts = [text.get_text() for text in _drawing(rows).legends[0].get_texts()]
    assert any("not shown" in text and "gap, unknown" in text.replace("\n", " ") for text in texts)
    alone = [_row(row, "unknown", "core", "explained_variance", 0.3, l0=None)]
    assert overview_parts(alone) == []


def test_one_sae_of_one_eval_is_a_picture(table: list[Row], tmp_path: Path) -> None:
    (panel,) = _panels(_write([row for row in table if row.sae == "a" and row.eval == "scr"], tmp_path))
    assert [sae["sae"] for sae in panel["saes"]] == ["a"]


def test_who_interpolates_is_hollow_and_intervals_are_drawn(table: list[Row]) -> None:
    for axes in _drawing(table).axes:
        markers = {line.get_xdata()[0]: line for line in axes.lines if line.get_marker() not in (None, "None", "")}
        assert markers[150.0].get_markerfacecolor() == "white"
        assert markers[8.0].get_markerfacecolor() != "white"
        assert sum(len(container[2][0].get_segments()) for container in axes.containers) >= 2


@pytest.mark.parametrize(("evals", "labels"), [(1, 1), (2, 3), (3, 16)])
def test_the_legend_lies_below_the_panels_within_the_picture(evals: int, labels: int, table: list[Row]) -> None:
    rows = [row for row in table if row.eval in ALL[:evals]]
    rows += [
        Row(**{**vars(row), "sae": f"s{i}", "label": f"architecture {i}", "l0": 10.0 + i})
        for i in range(labels)
        for row in rows[:40]
    ]
    drawing = _drawing(rows)
    legend = drawing.legends[0].get_window_extent()
    assert drawing.bbox.x0 <= legend.x0 < legend.x1 <= drawing.bbox.x1
    assert drawing.bbox.y0 <= legend.y0
    for axes in drawing.axes:
        assert not legend.overlaps(axes.get_tightbbox())
        assert axes.get_window_extent().height > 1.5 * drawing.dpi, "the legend leaves the panels their room"


def test_the_same_table_gives_the_same_bytes(table: list[Row], tmp_path: Path) -> None:
    first = _write(table, tmp_path).read_bytes()
    assert _write(table, tmp_path).read_bytes() == first
    assert b"Matplotlib" not in first


def test_colours_come_from_the_settings_and_sizes_do_not(table: list[Row], tmp_path: Path) -> None:
    plain = _write(table, tmp_path).read_bytes()
    assert _write(table, tmp_path, VisualizationSettings(font_size=20, dpi=50, k_values=(5,))).read_bytes() == plain
    assert _write(table, tmp_path, VisualizationSettings(colors={"topk": "#123456"})).read_bytes() != plain


def _title(header: str) -> str:
    """A column's title without its direction and the audit's marks."""
    return re.split(" [↑↓]", header)[0]


def _tables(report: str) -> dict[tuple[str, str], dict[str, dict[str, str]]]:
    """The tables of METRICS.md: by source and eval, by SAE, the cells by header."""
    tables: dict[tuple[str, str], dict[str, dict[str, str]]] = {}
    source = ""
    for section in re.split(r"^(?=##+ )", report, flags=re.MULTILINE):
        title, *lines = section.splitlines()
        if title.startswith("## "):
            source = {"## Results": "computed", "## Published results": "published"}.get(title, "")
        elif source:
            header, _, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line[:1] == "|"]
            by_sae = {row[0].split("`")[1]: dict(zip(header, row, strict=True)) for row in rows if "`" in row[0]}
            tables[source, title.removeprefix("### ")] = by_sae
    return tables


def test_the_committed_picture_shows_the_numbers_of_the_committed_report() -> None:
    """Whoever commits METRICS.md commits the picture of the same run with it: both are written by `dvc repro`."""
    report = (ROOT / "METRICS.md").read_text(encoding="utf-8")
    tables = _tables(report)
    panels = _panels(ROOT / "docs" / "figures" / "overview.png")
    assert [panel["eval"] for panel in panels] == [name for name in ALL if ("computed", name) in tables]
    for panel in panels:
        reported: dict[str, tuple[str, str]] = {}
        for (source, eval_name), by_sae in tables.items():
            for sae, cells in by_sae.items() if eval_name == panel["eval"] else ():
                (value,) = [text for header, text in cells.items() if _title(header) == panel["title"]]
                if not {value, cells["L0"]} & {"–"}:
                    reported[f"{source} {sae}"] = cells["L0"], value.replace("*", "")
        drawn = {f"{p['source']} {p['sae']}": (shown(p["l0"]), _cell(p)) for p in panel["saes"]}
        assert drawn == reported, f"{panel['title']}: commit METRICS.md and docs/figures/overview.png of one run"
        for level in panel["references"]:
            assert f"{shown(level['value'])} (k best)" in report


def _cell(point: dict[str, Any]) -> str:
    """A number with its interval as the report writes it."""
    if point["ci_low"] is None:
        return shown(point["value"])
    return f"{shown(point['value'])} [{shown(point['ci_low'])}, {shown(point['ci_high'])}]"
