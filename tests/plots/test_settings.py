from __future__ import annotations

from typing import Any

import pytest

from sae_research.errors import UserError
from sae_research.plots import style
from sae_research.plots.labels import label_rank, label_text
from sae_research.plots.settings import COLORS, MARKERS, VisualizationSettings
from sae_research.plots.style import LABELS, SPARE_COLORS, find_style
from sae_research.records import read_record
from sae_research.saes.about import About
from sae_research.saes.registry import architectures


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"colors": {"topk": "greenish"}}, r"visualization: colors\.topk is 'greenish'; valid: #rrggbb, tab:blue"),
        ({"colors": {"topk": "#12345"}}, r"colors\.topk is '#12345'"),
        ({"markers": {"topk": "x"}}, r"visualization: markers\.topk is 'x'; valid: o s \^"),
        ({"k_values": [1, 1]}, r"k_values is \[1, 1\]"),
        ({"k_values": [0]}, r"k_values is \[0\]"),
        ({"dpi": 5000}, "dpi is 5000, expected 50 to 600"),
        ({"colours": {}}, "unknown key 'colours'; valid: markers, colors"),
        ({"extra_formats": ["gif"]}, "valid: pdf, svg"),
    ],
)
def test_mistakes_are_told_with_what_is_valid(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_record(VisualizationSettings, values, where="visualization")


def test_every_colour_and_marker_that_is_offered_can_be_drawn() -> None:
    from matplotlib.colors import is_color_like
    from matplotlib.markers import MarkerStyle

    assert all(is_color_like(c) for c in (*COLORS, *SPARE_COLORS))
    assert all(MarkerStyle(marker).is_filled() for marker in MARKERS), "an empty inside shows interpolation"


ALL = {*architectures(), *LABELS}


@pytest.mark.parametrize("more", [0, 1, 2, 9, 40])
def test_a_picture_tells_all_architectures_and_any_new_ones_apart(more: int, row: Any) -> None:
    labels = [*ALL, *(f"new_{i}" for i in range(more))]
    found = find_style([row(label, "mse", 1.0, label=label) for label in labels], VisualizationSettings())
    looks = {(found.markers[label], found.colors[label]) for label in labels}
    assert len(looks) == len(labels)
    assert {marker for marker, _ in looks} <= set(MARKERS)


def test_labels_look_as_declared_unless_settings_say_otherwise(row: Any) -> None:
    settings = VisualizationSettings(markers={"topk": "o"}, colors={"relu": "red"})
    found = find_style([row(label, "mse", 1.0, label=label) for label in ("topk", "relu", "random")], settings)
    assert found.markers == {"topk": "o", "relu": "o", "random": ">"}
    assert found.colors == {"topk": "#228833", "relu": "red", "random": "#aaaaaa"}


def test_new_labels_avoid_what_the_picture_has(row: Any) -> None:
    settings = VisualizationSettings(markers={"a": MARKERS[0], "b": MARKERS[0]}, colors={"a": SPARE_COLORS[0]})
    found = find_style([row(label, "mse", 1.0, label=label) for label in "abc"], settings)
    assert found.colors["b"] != found.colors["a"]
    assert found.markers["c"] != MARKERS[0]


def test_legends_have_the_declared_names_and_order() -> None:
    ranked = ["topk", "matryoshka", "ihtp", "random", "alpha", "beta"]
    assert sorted({*ranked}, key=label_rank) == ranked
    assert [label_text(label, "computed") for label in ranked[:3]] == ["TopK", "Matryoshka", "IHTP"]
    assert label_text("alpha", "published") == "alpha, published"


@pytest.mark.parametrize(
    ("looks", "message"), [({"marker": "x"}, "is 'x'; valid: o s"), ({"color": "reddish"}, "valid: #rr")]
)
def test_a_look_that_cannot_be_drawn_names_the_label(
    looks: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(style, "LABELS", {"toy": About(**looks)})
    with pytest.raises(ValueError, match=f"ABOUT of toy {message}" if "marker" in looks else message):
        style.about_label("toy")


def test_settings_are_read_from_params() -> None:
    values = {"colors": {"topk": "#00ff00"}, "markers": {"topk": "*"}, "k_values": [1, 5]}
    settings = read_record(VisualizationSettings, values, where="visualization")
    assert settings == VisualizationSettings(markers={"topk": "*"}, colors={"topk": "#00ff00"}, k_values=(1, 5))
