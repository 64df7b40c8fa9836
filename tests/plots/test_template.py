"""The Vega-Lite template behind `dvc plots show`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

TEMPLATES = Path(__file__).parents[2] / ".dvc" / "plots"
RECORDS = [
    {"sae": "a", "label": "topk", "l0": 8.0, "ce_loss_increase": 0.9, "rev": "HEAD"},
    {"sae": "a", "label": "topk", "l0": 8.0, "ce_loss_increase": 0.8, "rev": "workspace"},
    {"sae": "b", "label": "relu", "l0": None, "ce_loss_increase": None, "rev": "workspace"},
]


@pytest.fixture
def filled() -> dict[str, Any]:
    vega = pytest.importorskip("dvc_render.vega")
    renderer = vega.VegaRenderer(
        RECORDS, "Loss added", x="l0", y="ce_loss_increase", template="sae_scatter", template_dir=str(TEMPLATES)
    )
    return json.loads(renderer.partial_html())


def test_dvc_fills_every_anchor(filled: dict[str, Any]) -> None:
    assert "<DVC_METRIC" not in json.dumps(filled)
    assert len(filled["data"]["values"]) == len(RECORDS)


def test_colour_is_the_label_and_shape_the_revision_on_a_logarithmic_axis(filled: dict[str, Any]) -> None:
    encoding = filled["encoding"]
    assert encoding["color"]["field"] == "label"
    assert encoding["shape"]["field"] == "rev"
    assert (encoding["x"]["field"], encoding["x"]["scale"]["type"]) == ("l0", "log")
    assert (encoding["y"]["field"], encoding["y"]["scale"]["type"]) == ("ce_loss_increase", "log")


def test_what_has_no_logarithm_or_is_missing_is_filtered_out(filled: dict[str, Any]) -> None:
    assert filled["transform"] == [
        {
            "filter": "isValid(datum['l0']) && isValid(datum['ce_loss_increase']) && datum['l0'] > 0"
            " && datum['ce_loss_increase'] > 0"
        }
    ]
