"""SAEs of several layers in one report."""

from __future__ import annotations

import csv
from typing import Any

import numpy as np
from support.workspace import make_card, make_core

from sae_research.measurements import EvalOutput, Result, measured
from sae_research.metrics.intervals import Estimate
from sae_research.pipeline.stages.process_results import process_results
from sae_research.results.sites import depth_of, site_of

LOSSES = {
    "ce_loss_without_sae": 2.0, "ce_loss_with_sae": 2.5, "ce_loss_increase": 0.5,
    "next_token_accuracy_without_sae": 0.5, "next_token_accuracy_with_sae": 0.45,
}  # fmt: skip


def _report(workspace: Any, *sites: str) -> str:
    for i, site in enumerate(sites):
        for l0 in (20.0, 10.0):
            card = make_card(f"s{i}_l{l0:.0f}", hook_name=site)
            workspace.add(make_core(card, l0=l0, **{**LOSSES, "ce_loss_with_sae": 2.5 + i}))
    process_results(workspace.paths, {"core": True})
    return workspace.paths.report.read_text(encoding="utf-8")


def test_depth_is_blocks_that_were_run() -> None:
    names = ("blocks.3.hook_resid_pre", "blocks.2.hook_resid_post", "blocks.2.hook_mlp_out", "blocks.2.attn.hook_z")
    assert [depth_of(name) for name in names] == [3.0, 3.0, 2.5, 2.5]
    assert site_of("somebody.elses") is None and depth_of(None) == float("inf")


def test_saes_are_grouped_by_site(workspace: Any) -> None:
    text = _report(workspace, "blocks.10.hook_resid_post", "blocks.9.hook_resid_post")
    for section in ("## Main columns", "### core"):
        lines = [line for line in text.split(section)[1].split("\n#")[0].splitlines() if line.startswith("| `")]
        assert [line.split(" | ")[:2] for line in lines] == [
            [f"| `s{i}_l{l0}`", f"`blocks.{layer}.hook_resid_post`"]
            for i, layer in ((1, 9), (0, 10))
            for l0 in (10, 20)
        ], section
    assert text.split("## Main columns")[1].splitlines()[2].startswith("| SAE | site | architecture |")
    assert "SAEs by site and L0, controls last." in text
    assert "at `blocks.9.hook_resid_post` and `blocks.10.hook_resid_post` of" in text
    with (workspace.paths.merged / "results.csv").open(encoding="utf-8") as file:
        assert {row["sae"]: row["layer"] for row in csv.DictReader(file)} == {
            "s0_l20": "10", "s0_l10": "10", "s1_l20": "9", "s1_l10": "9",
        }  # fmt: skip


def test_losses_and_accuracy_by_layer(workspace: Any) -> None:
    text = _report(workspace, "blocks.1.hook_resid_post", "blocks.0.hook_resid_pre")
    lines = text.split("## By layer")[1].split("\n## ")[0].strip().splitlines()
    assert lines[-4] == (
        "| `blocks.0.hook_resid_pre` | `s1_l10` | topk | 512 | 10 | 2 | 3.500 | 0.5000 | 0.5000 | 0.4500 |"
    )
    assert [line.split(" | ")[1] for line in lines[-4:]] == ["`s1_l10`", "`s1_l20`", "`s0_l10`", "`s0_l20`"]


def test_one_site_needs_no_column(workspace: Any) -> None:
    text = _report(workspace, "blocks.1.hook_resid_post")
    assert "| SAE | architecture | d_sae | L0 |" in text and "SAEs by L0, controls last." in text
    assert "By layer" not in text and "images/layers_" not in text


def test_each_site_has_its_best(workspace: Any) -> None:
    """Every SAE of layer 9 is better than those of layer 10; one of each is in bold."""
    tight = np.linspace(-1e-4, 1e-4, 32)
    for i, (name, layer, error) in enumerate((("a", 10, 5.0), ("b", 10, 6.0), ("c", 9, 1.0), ("d", 9, 2.0))):
        base = make_core(make_card(name, hook_name=f"blocks.{layer}.hook_resid_post"), l0=8.0 + 20 * (i % 2))
        replicates = tuple(error + v for v in np.roll(tight, 5 * i))
        score = measured("mse", Estimate(error, error - 0.01, error + 0.01, replicates))
        output = EvalOutput((*base.output.measurements, score))
        workspace.add(Result(base.key, "core", base.sae, base.settings, base.key_parts, output))
    process_results(workspace.paths, {"core": True})
    text = workspace.paths.report.read_text(encoding="utf-8")
    lines = {
        line[3]: line for line in text.split("### core")[1].split("\n## ")[0].splitlines() if line.startswith("| `")
    }
    assert "| **1** [" in lines["c"] and "| **5** [" in lines["a"]
    assert "*" not in lines["b"] + lines["d"]
    assert "SAEs by site and L0, controls last. **Bold**: the best trained SAE of its site" in text
    assert "speaks of all sites together; tables mark the best of each" in text.split("## Main columns")[0]
