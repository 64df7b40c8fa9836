"""`compare A B`: from the replicates on disk the very numbers that `comparisons.csv` has, and Holm's correction."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.workspace import Workspace, make_card, make_core

from sae_research.cli import main
from sae_research.measurements import EvalOutput, measured
from sae_research.metrics.intervals import jackknife
from sae_research.pipeline.stages.process_results import process_results
from sae_research.results.comparisons import Comparison, compare_columns
from sae_research.results.pair_report import compare_pair, holm
from sae_research.results.replicates import columns_of, read_replicates
from sae_research.results.rows import read_records


@pytest.fixture
def merged(workspace: Workspace) -> Path:
    """Three SAEs with replicates on two columns, one of which has no direction in the report."""
    rng = np.random.default_rng(0)
    common = rng.normal(size=(40, 2))
    for place, name in enumerate("abc"):
        rows = {"x": common + rng.normal(scale=0.3, size=(40, 2)) + 0.2 * place}
        numbers = jackknife(rows, lambda sums: {"one": sums["x"][..., 0] / 40, "two": sums["x"][..., 1] / 40})
        result = make_core(make_card(name))
        output = EvalOutput((measured("explained_variance", numbers["one"]), measured("mse", numbers["two"])))
        workspace.add(replace(result, output=output))
    process_results(workspace.paths, {"core": True})
    return workspace.paths.merged


def test_pairs_from_the_replicates_are_those_of_the_table(merged: Path) -> None:
    columns = columns_of(read_replicates(merged)).values()
    assert [*compare_columns(columns)] == read_records(merged / "comparisons.parquet", Comparison)
    two = compare_pair([*columns], "c", "a", metrics=[], headline_only=True)
    (of_table,) = [p for p in compare_columns(columns) if (p.column, p.sae_a, p.sae_b) == ("mse", "a", "c")]
    (alone,) = [pair for pair in two if pair.column == "mse"]
    assert (alone.difference, alone.ci_low) == (-of_table.difference, -(of_table.ci_high or 0.0))
    assert (alone.better, alone.method, alone.p) == (of_table.better, "paired", of_table.p)


def test_the_command_says_who_is_better(
    merged: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(merged.parents[1])
    assert main(["compare", "a", "c", "--metric", "mse"]) == 0
    shown = capsys.readouterr().out
    assert "core mse ↓" in shown and "a is better" in shown and "1 comparison." in shown
    assert main(["compare", "a", "x"]) == 1
    assert "no SAE or baseline is called 'x'; there are: a, b, c" in caplog.text
    assert main(["compare", "a", "b", "--metric", "nothing"]) == 1
    assert "valid: explained_variance, mse" in caplog.text


def test_holm_by_hand() -> None:
    adjusted = holm(np.array([0.01, np.nan, 0.04, 0.03]))
    assert adjusted[[0, 2, 3]] == pytest.approx([0.03, 0.06, 0.06])
    assert np.isnan(adjusted[1])
