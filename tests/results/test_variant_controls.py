"""Variants beside their own controls: the same encoder on atoms that learned nothing."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

import pandas as pd
import pytest
from support.workspace import Workspace, make_card, make_core

from sae_research.measurements import EvalOutput, Measurement, Result
from sae_research.pipeline.stages.process_results import process_results

GROUPS = 20


def _result(card: dict[str, Any], l0: float, **replicates: Sequence[float]) -> Result:
    """A core result whose numbers are the means of their replicates."""
    result = make_core(card, l0=l0)
    plain = [m for m in result.output.measurements if m.metric not in replicates]
    drawn = [
        Measurement(name, sum(values) / len(values), ci_low=-9.0, ci_high=9.0, replicates=tuple(values))
        for name, values in replicates.items()
    ]
    output = EvalOutput((*plain, *drawn))
    return Result(result.key, "core", card, result.settings, result.key_parts, output, result.versions)


def _around(value: float, spread: float = 0.0) -> list[float]:
    return [value + spread * (-1) ** i for i in range(GROUPS)]


@pytest.fixture
def workspace(workspace: Workspace) -> Workspace:
    """A variant, its two controls, a control for all, and a trained SAE."""

    def control(atoms: str, explained: float, added: float) -> Result:
        card = make_card(
            f"{atoms}_mpsae_s8", "mpsae", label=f"mpsae on {atoms}", control=True, atoms=atoms,
            control_for="relu_mpsae_s8", source={"atoms": atoms, "key": "k"},
        )  # fmt: skip
        return _result(card, 9.0, explained_variance=_around(explained), ce_loss_increase=_around(added))

    variant = make_card("relu_mpsae_s8", "mpsae", source={"baseline": "relu"}, scope="token")
    workspace.add(_result(variant, 7.0, explained_variance=_around(0.90, 0.001), ce_loss_increase=_around(0.02)))
    workspace.add(control("random", 0.45, 0.90))
    workspace.add(control("raw", 0.90, 0.03))
    others = {"topk_k8": (0.93, False), "topk_b": (0.94, False), "random_topk": (0.44, True)}
    for name, (explained, is_control) in others.items():
        card = make_card(name, control=is_control, atoms="random" if is_control else None)
        workspace.add(_result(card, 8.0, explained_variance=_around(explained), ce_loss_increase=_around(0.01)))
    process_results(workspace.paths, {"core": True})
    return workspace


def _rows(workspace: Workspace) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((workspace.paths.merged / "results.csv").read_text())))


def test_the_table_says_what_a_variant_is_ahead_of_each_of_its_controls(workspace: Workspace) -> None:
    rows = {(row["sae"], row["metric"]): row for row in _rows(workspace)}
    explained = rows["relu_mpsae_s8", "explained_variance"]
    assert float(explained["over_random"]) == pytest.approx(0.45)
    assert float(explained["over_raw"]) == pytest.approx(0.0, abs=1e-12)
    # Replicates alternate by .001: SE² = (19/20) Σ .001², and Student's quantile for 19 degrees of freedom is 2.093.
    half = 2.093 * (19 / 20 * GROUPS) ** 0.5 * 0.001
    assert float(explained["over_random_low"]) == pytest.approx(0.45 - half, abs=1e-5)
    assert float(explained["over_random_high"]) == pytest.approx(0.45 + half, abs=1e-5)
    assert explained["over_pca"] == ""
    added = rows["relu_mpsae_s8", "ce_loss_increase"]
    assert float(added["over_raw"]) == pytest.approx(-0.01), "its number minus the control's, whichever is better"
    for sae in ("topk_k8", "random_mpsae_s8", "random_topk"):
        assert rows[sae, "explained_variance"]["over_random"] == ""
    assert rows["raw_mpsae_s8", "l0"]["control_for"] == "relu_mpsae_s8"
    typed = pd.read_parquet(workspace.paths.merged / "results.parquet")
    assert set(typed[typed.over_random.notna()].sae) == {"relu_mpsae_s8"}


def test_the_report_has_a_line_per_variant_and_control_with_what_is_better_in_bold(workspace: Workspace) -> None:
    report = workspace.paths.report.read_text()
    section = report.split("## Variants against their own controls")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    assert [line.split(" | ")[:4] for line in lines] == [
        ["| `relu_mpsae_s8`", "7", "`random_mpsae_s8`", "9"], ["| `relu_mpsae_s8`", "7", "`raw_mpsae_s8`", "9"]
    ]  # fmt: skip
    assert "**0.4500** [" in lines[0]
    assert "| 0 [-" in lines[1], "no better than raw activations"
    assert "**-0.01000** [" in lines[1], "lower is better"


def test_a_variants_own_control_is_held_against_that_variant_alone(workspace: Workspace) -> None:
    table = pd.read_csv(workspace.paths.merged / "audit.csv")
    trained = table[table.panel == "trained"].set_index("column").loc["explained_variance"]
    assert (trained.closest_control, trained.closest_sae) == ("raw_mpsae_s8", "relu_mpsae_s8")
    assert trained.told_above_control == pytest.approx(2 / 3)
    loss = table[table.panel == "trained"].set_index("column").loc["ce_loss_increase"]
    assert loss.closest_control == "random_topk", "which all are held against"


def test_without_such_controls_there_is_no_section(workspace: Workspace, tmp_path: Any) -> None:
    bare = Workspace(tmp_path / "bare")
    bare.add(make_core(make_card("a")))
    bare.add(make_core(make_card("b")))
    process_results(bare.paths, {"core": True})
    assert "Variants against" not in bare.paths.report.read_text()


def test_only_saes_of_whole_sequences_are_marked_for_their_wide_support(tmp_path: Any) -> None:
    bare = Workspace(tmp_path / "bare")
    for name, scope in (("by_token", "token"), ("by_sequence", "sequence")):
        bare.add(make_core(make_card(name, scope=scope), support_share_of_d_in=0.9, interpolates=0.0))
    process_results(bare.paths, {"core": True})
    report = bare.paths.report.read_text()
    assert "| `by_sequence` § |" in report
    assert "| `by_token` |" in report
