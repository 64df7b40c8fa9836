from __future__ import annotations

from typing import Any

import pytest

from sae_research.errors import UserError
from sae_research.plots.settings import (
    COLORS,
    DEFAULT_COLORS,
    DEFAULT_MARKERS,
    MARKERS,
    SPARE_COLORS,
    VisualizationSettings,
)
from sae_research.records import read_record


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

    assert all(is_color_like(c) for c in (*COLORS, *DEFAULT_COLORS.values(), *SPARE_COLORS))
    assert all(MarkerStyle(marker).is_filled() for marker in MARKERS), "an empty inside shows interpolation"


def test_the_defaults_tell_all_architectures_apart() -> None:
    from sae_research.saes.registry import architectures

    assert set(architectures()) <= set(DEFAULT_COLORS) & set(DEFAULT_MARKERS)
    assert len(set(DEFAULT_COLORS.values())) == len(DEFAULT_COLORS)
    assert len(set(DEFAULT_MARKERS.values())) == len(DEFAULT_MARKERS)
    assert set(DEFAULT_MARKERS.values()) <= set(MARKERS)


def test_settings_are_read_from_params() -> None:
    values = {"colors": {"topk": "#00ff00"}, "markers": {"topk": "*"}, "k_values": [1, 5]}
    settings = read_record(VisualizationSettings, values, where="visualization")
    assert settings == VisualizationSettings(markers={"topk": "*"}, colors={"topk": "#00ff00"}, k_values=(1, 5))
