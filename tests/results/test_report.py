from __future__ import annotations

import csv
import dataclasses
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.workspace import make_card, make_core, sae_bench_core

from sae_research.cli import main
from sae_research.errors import UserError
from sae_research.evals.core.eval import CORE
from sae_research.measurements import NOT_FOR_TOKENS, EvalOutput, Measurement, Result, measured
from sae_research.metrics.intervals import Estimate
from sae_research.pipeline.stages.process_results import process_results
from sae_research.pipeline.stages.visualize import visualize
from sae_research.plots.settings import VisualizationSettings
from sae_research.results.markdown import table
from sae_research.results.merge import Entry
from sae_research.results.report_settings import saes_section

BOTH = {"core": True, "sparse_probing": True}


@pytest.fixture
def report(filled: Any) -> str:
    process_results(filled.paths, BOTH)
    return filled.paths.report.read_text(encoding="utf-8")


def _line(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(start))


def test_directions_are_arrows_and_intervals_stand_in_brackets(report: str) -> None:
    assert "| Loss recovered, against zero ablation ↑ |" in report
    assert "0.8500 [0.8400, 0.8600]" in report


def test_an_sae_that_interpolates_is_marked_and_never_best(report: str) -> None:
    assert "| 1 |" in _line(report.split("### core")[1], "| `ihtp_k5` † | ihtp"), "its loss recovered, not marked"
    assert "`ihtp_k5` 97 %" in report


TIGHT = tuple(np.linspace(-1e-4, 1e-4, 32))
"""Replicates of a number whose standard error is 0.0003."""


@pytest.fixture
def ranked(workspace: Any) -> str:
    """The report on eight SAEs of which squared errors and L0 are known, the errors of `a` and `b` alike."""
    saes: dict[str, tuple[float, float, dict[str, Any]]] = {
        "a": (8.0, 2.5, {}), "b": (9.0, 2.5001, {}), "c": (10.0, 3.5, {}),
        "d": (30.0, 2.9, {}), "e": (31.0, 3.1, {}),
        "interpolating": (150.0, 0.0, {"interpolates": 0.9}),
        "wide": (32.0, 2.0, {"interpolates": 0.0, "support_share_of_d_in": 0.6}),
        "control": (8.0, 1.0, {}),
    }  # fmt: skip
    for i, (name, (l0, error, more)) in enumerate(saes.items()):
        card = make_card(name, control=name == "control", scope="sequence" if name == "wide" else "token")
        base = make_core(card, **{"l0": l0, **more})
        replicates = tuple(error + v for v in np.roll(TIGHT, 5 * i))
        score = measured("mse", Estimate(error, error - 0.01, error + 0.01, replicates))
        output = EvalOutput((*base.output.measurements, score))
        workspace.add(Result(base.key, "core", base.sae, base.settings, base.key_parts, output))
    process_results(workspace.paths, {"core": True})
    return workspace.paths.report.read_text(encoding="utf-8")


def test_the_best_is_marked_with_all_that_cannot_be_told_from_it(ranked: str) -> None:
    table_of_core = ranked.split("### core")[1]
    assert "***2.500*** [" in _line(table_of_core, "| `a` |"), "over all, and at its L0"
    assert "***2.500*** [" in _line(table_of_core, "| `b` |")
    for name in "cde":
        assert "*" not in _line(table_of_core, f"| `{name}` |"), name


def test_who_interpolates_is_wide_or_a_control_is_never_best_over_all(ranked: str) -> None:
    table_of_core = ranked.split("### core")[1]
    assert "| *2* [" in _line(table_of_core, "| `wide` § |"), "at its L0 only"
    assert "*" not in _line(table_of_core, "| `interpolating` † |")
    assert "*" not in _line(table_of_core, "| `control` |")
    names = re.findall(r"^\| [`*](\w+)", table_of_core.split("\n\n")[2], flags=re.MULTILINE)
    assert names[-2:] == ["controls", "control"]


def test_the_main_table_goes_by_l0_with_the_controls_last(ranked: str) -> None:
    section = ranked.split("## Main columns")[1].split("\n\n")[1]
    assert re.findall(r"^\| [`*](\w+)", section, flags=re.MULTILINE) == [
        "a", "b", "c", "d", "e", "wide", "interpolating", "controls", "control"
    ]  # fmt: skip


def test_the_report_opens_with_what_was_measured(ranked: str) -> None:
    opening = ranked.split("## Main columns")[0]
    assert (
        "8 SAEs, 1 of them controls that learned nothing a metric should reward, at `blocks.0.hook_resid_post`"
        in opening
    )
    assert "of `embedded/lm`, evals: core." in opening
    assert "![Main metrics against L0](docs/figures/overview.png)" in opening


def test_without_intervals_nobody_is_best(workspace: Any, core_result: Callable[..., Result], card: Any) -> None:
    workspace.add(core_result(card("a"), mse=3.5))
    workspace.add(core_result(card("b"), mse=2.5))
    process_results(workspace.paths, {"core": True})
    text = workspace.paths.report.read_text(encoding="utf-8")
    assert "| Squared error [squared activation per token] ↓ ? |" in text
    assert "2.500 |" in text
    assert "*2.500" not in text


def test_every_picture_that_is_linked_is_drawn_and_the_other_way_round(filled: Any, report: str) -> None:
    links = re.findall(r"\]\(images/(.*?)\)", report)
    visualize(filled.paths, VisualizationSettings(dpi=50, k_values=(3,)))
    assert links
    assert sorted(set(links)) == sorted(path.name for path in filled.paths.images.iterdir())


def test_saes_with_another_input_are_named(core_result: Any, card: Any) -> None:
    usual = card("plain", centred=False, prepend_bos=True)
    entries = [core_result(usual), core_result(card("jb", centred=True)), core_result(card("bare", prepend_bos=False))]
    section = saes_section([Entry("computed", r.sae["name"], "core", r, CORE.specs) for r in entries])
    assert "`jb`: trained with `center_writing_weights`" in section
    assert "`bare`: trained on rows without BOS." in section
    assert "trained" not in saes_section([Entry("computed", "plain", "core", entries[0], CORE.specs)])


def test_failures_stand_with_their_reasons_and_do_not_break_the_table(report: str) -> None:
    assert r"| `gated` | core | checkpoint \| has NaN weights |" in report
    assert "| `gated` (failed) | gated |" in report


def test_the_models_own_probes_are_the_last_line(report: str) -> None:
    section = report.split("### sparse_probing")[1].split("##")[0].strip()
    last = section.splitlines()[-1]
    assert last.startswith("| *language model* |")
    assert "0.9600 (all channels), 0.6500 (k best)" in last
    assert "0.9600 (all channels), 0.8500 (k best)" in last


def test_every_table_has_as_many_cells_in_each_line(report: str) -> None:
    for block in re.findall(r"(?:^\|.*\n)+", report, flags=re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1, block


def test_settings_that_differ_are_told_and_all_stand_in_a_file(filled: Any, report: str) -> None:
    assert "| sparse_probing | `k_values` | [1, 5] | [1, 2, 5, 10, 20, 50] |" in report
    assert "`n_reconstruction_batches`" not in report, "as by default"
    lines = list(csv.DictReader((filled.paths.merged / "settings.csv").read_text(encoding="utf-8").splitlines()))
    by_name = {(line["kind"], line["of"], line["name"]): (line["value"], line["default"]) for line in lines}
    assert by_name["setting", "core", "n_reconstruction_batches"] == ("10", "10")
    assert by_name["model", "core", "revision"] == ("sha256:12", "")
    assert by_name["version", "", "torch"] == ("2.13.0", "")
    assert by_name["SAE", "ihtp_k5", "baseline"] == ("relu", "")


def test_gaps_are_told_once_per_reason(workspace: Any, core_result: Callable[..., Result], card: Any) -> None:
    workspace.add(core_result(card("a"), ce_loss_score=None))
    workspace.add(core_result(card("b"), ce_loss_score=None))
    process_results(workspace.paths, {"core": True})
    assert "| core | `ce_loss_score` | no batch had it | `a`, `b` |" in workspace.paths.report.read_text()


def test_what_no_token_scope_sae_has_is_one_line(workspace: Any, core_result: Callable[..., Result], card: Any) -> None:
    for name in "ab":
        result = core_result(card(name))
        others = [m for m in result.output.measurements if m.metric != "interpolates"]
        gap = Measurement("interpolates", None, NOT_FOR_TOKENS)
        workspace.add(dataclasses.replace(result, output=EvalOutput((*others, gap))))
    process_results(workspace.paths, {"core": True})
    section = workspace.paths.report.read_text().split("## Failed and missing")[1].split("##")[0]
    assert (
        section.strip()
        == "No cell failed.\n\n`interpolates` (core): not applicable: its codes are not fitted on a support."
    )


def test_a_label_stands_in_place_of_the_architecture(
    workspace: Any, core_result: Callable[..., Result], card: Any
) -> None:
    workspace.add(core_result(card("random_k8", label="random")))
    workspace.add(core_result(card("topk_k8", label="topk")))
    process_results(workspace.paths, {"core": True})
    text = workspace.paths.report.read_text()
    assert "| `random_k8` | random | 512 |" in text
    assert "| `random_k8` | random (topk) | blocks.0" in text
    assert "| `topk_k8` | topk | blocks.0" in text
    assert set(json.loads(workspace.paths.metrics.read_text())["by_architecture"]) == {"random", "topk"}


def test_published_results_have_a_section_of_their_own(filled: Any) -> None:
    document = {
        "eval_type_id": "core", "sae_lens_id": "x", "sae_lens_release_id": "r", "sae_cfg_dict": {"d_sae": 4096},
        "eval_result_metrics": sae_bench_core(l0=33.0, ce_loss_score=0.9),
    }  # fmt: skip
    filled.publish("a.json", document)
    process_results(filled.paths, BOTH)
    computed, published = filled.paths.report.read_text(encoding="utf-8").split("## Published results")
    assert "`r/x`" not in computed
    assert "| `r/x` | unknown | 4,096 | 33 | 0.9000 |" in published


def test_cells_cannot_break_out_of_a_table() -> None:
    assert table(["a"], [["x | y\nz"]]).splitlines()[-1] == r"| x \| y z |"
    assert table(["a"], [["<img src=x>"]]).splitlines()[-1] == "| &lt;img src=x> |"


def test_the_command_reports_the_evals_that_have_run(filled: Any, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(filled.paths.results / "sparse_probing")
    with pytest.raises(UserError, match="its stage has not run"):
        process_results(filled.paths, BOTH)
    assert main(["report", "--results", str(filled.paths.results)]) == 0
    printed = capsys.readouterr().out
    assert "evals: core." in printed
    assert "| `ihtp_k5` † | ihtp" in printed
    assert not filled.paths.report.exists()


def test_the_command_says_where_nothing_has_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert main(["report", "--results", str(tmp_path)]) == 1
    assert "holds no finished eval" in caplog.messages[-1]
