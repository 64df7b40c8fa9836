"""SAEs of several layers and widths in one run: the report groups them by site and compares like with like."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from support.rows import make_row
from support.workspace import make_card, make_core

from sae_research.measurements import EvalOutput, Result, measured
from sae_research.metrics.intervals import Estimate
from sae_research.pipeline.stages.process_results import process_results
from sae_research.results.leaders import contenders_of
from sae_research.results.rows import Row, sites_apart

TIGHT = np.linspace(-1e-4, 1e-4, 32)
SAES = {
    "late_a": (10, 512, 8.0, 5.0), "late_b": (10, 4096, 9.0, 6.0),
    "early_a": (9, 512, 8.0, 1.0), "early_b": (9, 4096, 30.0, 2.0),
}  # fmt: skip
"""Layer, width, L0 and squared error; every SAE of layer 9 is better than those of layer 10."""


@pytest.fixture
def report(workspace: Any) -> str:
    for i, (name, (layer, d_sae, l0, error)) in enumerate(SAES.items()):
        base = make_core(make_card(name, hook_name=f"blocks.{layer}.hook_resid_post", d_sae=d_sae), l0=l0)
        replicates = tuple(error + v for v in np.roll(TIGHT, 5 * i))
        score = measured("mse", Estimate(error, error - 0.01, error + 0.01, replicates))
        output = EvalOutput((*base.output.measurements, score))
        workspace.add(Result(base.key, "core", base.sae, base.settings, base.key_parts, output))
    process_results(workspace.paths, {"core": True})
    return workspace.paths.report.read_text(encoding="utf-8")


def _line(text: str, name: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(f"| `{name}` |"))


def test_tables_have_a_column_for_the_site_and_go_by_it(report: str) -> None:
    main, of_core = report.split("## Main columns")[1], report.split("### core")[1]
    for section in (main, of_core):
        assert "| SAE | architecture | site | d_sae | L0 |" in section
        names = re.findall(r"^\| `(\w+)` \|", section.split("\n\n## ")[0], flags=re.MULTILINE)[:4]
        assert names == ["early_a", "early_b", "late_a", "late_b"], "layer 9 before layer 10"
    assert "| `early_b` | topk | `blocks.9.hook_resid_post` | 4,096 | 30 |" in main
    assert "SAEs by site and L0" in main
    lines = [line for line in of_core.split("\n\n")[2].splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1


def test_each_site_has_its_best(report: str) -> None:
    of_core = report.split("### core")[1]
    for name, best in (("early_a", "**1** ["), ("late_a", "***5*** [")):
        assert best in _line(of_core, name)
    for name in ("early_b", "late_b"):
        assert "*" not in _line(of_core, name)
    assert "speaks of all sites together; tables mark the best of each" in report.split("## Main columns")[0]


def test_l0_is_matched_within_a_site() -> None:
    def of_layer(layer: int) -> list[Row]:
        hook = f"blocks.{layer}.hook_resid_post"
        return [make_row(f"{layer}{name}", "mse", 1.0, l0=l0, hook_name=hook) for name, l0 in (("a", 8.0), ("b", 9.0))]

    assert dict(contenders_of(of_layer(1)).bands) == {"8 to 9": {"1a", "1b"}}
    both = [*of_layer(10), *of_layer(9)]
    assert sites_apart(both) == ("blocks.9.hook_resid_post", "blocks.10.hook_resid_post")
    assert dict(contenders_of(both).bands) == {
        "8 to 9 at blocks.9.hook_resid_post": {"9a", "9b"}, "8 to 9 at blocks.10.hook_resid_post": {"10a", "10b"}
    }  # fmt: skip
    published = make_row("p", "mse", 1.0, source="published", hook_name=None)
    assert sites_apart([*of_layer(1), published]) == (), "one site was measured here"
    assert sites_apart([*both, published])[-1] == "unknown site"
