"""What is written: vendored libraries as recorded, the same bytes for the same results, nothing that ends a script."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

import pytest
from page.conftest import ENABLED, Explorer, fill
from support.rows import make_row
from support.workspace import Workspace, sae_bench_core

from sae_research.cli import main
from sae_research.errors import UserError
from sae_research.page.build import write_page
from sae_research.page.document import SCRIPTS, STYLES, VENDOR, index_html, vendored
from sae_research.page.fleet import about_members, fleet_of
from sae_research.page.index import index_document
from sae_research.page.levels import about_levels, levels_of
from sae_research.page.packing import chunk_text, script_json
from sae_research.page.run import Run, names_of, read_merged
from sae_research.pipeline.stages.process_results import process_results
from sae_research.plots.settings import MARKERS, VisualizationSettings

PAGE = VENDOR.parent
HOSTILE = "</script><!-- \u2028 \u202e & \x00 \ud800"


def test_vendored_files_are_those_that_the_registry_has() -> None:
    assert {path.name for path in VENDOR.glob("*.js")} == set(vendored())
    for name, about in vendored().items():
        digest = base64.b64encode(hashlib.sha512((VENDOR / name).read_bytes()).digest()).decode()
        assert about["integrity"] == f"sha512-{digest}"
        assert "Permission" in (VENDOR / about["licence_file"]).read_text()
        assert about["package"].endswith(f"@{about['version']}") and about["package_integrity"].startswith("sha512-")


def test_every_file_of_the_page_is_used_and_shipped() -> None:
    assert {path.stem for path in (PAGE / "script").iterdir()} == set(SCRIPTS)
    assert {path.stem for path in (PAGE / "style").iterdir()} == set(STYLES)
    packaged = re.search(r"^sae_research = \[(.*)\]", (PAGE.parents[1] / "pyproject.toml").read_text(), re.M)
    assert packaged is not None
    patterns = re.findall(r'"([^"]+)"', packaged[1])
    files = [path.relative_to(PAGE.parent).as_posix() for path in PAGE.rglob("*") if path.is_file()]
    left_out = [file for file in files if not file.endswith((".py", ".pyc"))]
    assert [file for file in left_out if not any(fnmatch(file, pattern) for pattern in patterns)] == []


def test_the_page_knows_every_marker_that_params_accept() -> None:
    script = (PAGE / "script" / "marks.js").read_text()
    known = re.search(r"const MARKERS = \{(.*?)\n\};", script, re.S)
    assert known is not None
    assert set(re.findall(r'^  "?([^":\s]+)"?:', known[1], re.M)) == set(MARKERS)


def test_the_same_results_give_the_same_bytes(explorer: Explorer, tmp_path: Path) -> None:
    run = read_merged(explorer.merged, "small")
    write_page([run], tmp_path / "again", VisualizationSettings(), scratch=tmp_path / "scratch")
    first, second = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (explorer.folder, tmp_path / "again")
    )
    assert first == second and len(first) >= 8


def test_nothing_in_data_can_end_a_script_or_turn_a_line() -> None:
    for text in (script_json({"name": HOSTILE}), chunk_text(HOSTILE, {"name": HOSTILE})):
        assert re.search("[<>&\u2028\u202e\x00\ud800]", text) is None
    assert json.loads(script_json(HOSTILE[:-1])) == HOSTILE[:-1]


def test_the_policy_forbids_the_network_and_names_the_pages_own_scripts() -> None:
    html = index_html({"name": HOSTILE})
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)
    assert policy is not None and policy[1].startswith("default-src 'none'; ")
    assert "http" not in policy[1] and "unsafe-eval" not in policy[1]
    scripts = re.findall(r"<script>(.*?)</script>", html, re.S)
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    assert len(scripts) == 3 and all(f"'sha256-{digest}'" in policy[1] for digest in hashes)
    assert not re.search(r"""(src|href)=["'](https?:)?//""", html)


def test_columns_that_an_eval_sets_against_each_other_are_known() -> None:
    rows = [
        make_row("a", metric, 0.5, eval="sensitivity", at=f'{{"percent": {percent}}}', column=f"{metric}_{percent}")
        for metric in ("sensitivity", "sensitivity_original")
        for percent in (0, 50)
    ]
    run = Run("one", rows, {"saes": []})
    index = index_document([run], fleet_of([run]), [], VisualizationSettings())
    assert [(pair["x"], pair["y"], pair["at"]) for pair in index["opposed"]] == [
        (f"sensitivity.sensitivity_original_{p}", f"sensitivity.sensitivity_{p}", {"percent": p}) for p in (0, 50)
    ]


def test_what_needs_no_sae_has_a_name_for_each_site() -> None:
    runs = []
    for site, accuracy in (("blocks.0.hook_resid_post", 0.8), ("blocks.1.hook_resid_post", 0.9)):
        about = {"eval": "sparse_probing", "hook_name": site}
        rows = [make_row("a", "sae_test_accuracy", 0.7, **about), make_row("a", "llm_test_accuracy", accuracy, **about)]
        runs.append(Run(site, rows, {"saes": []}))
    fleet = fleet_of(runs)
    for shown, names in ((runs, [f"model:llm_test_accuracy at {run.name}" for run in runs]), (runs[:1], None)):
        levels = levels_of(shown, [runs[0].rows[0]])
        found = [(level["name"], level["numbers"][0][:2]) for level in about_levels(levels, fleet)]
        assert found == list(zip(names or ["model:llm_test_accuracy"], ([0, 0.8], [0, 0.9]), strict=False))


def test_explore_shows_several_folders_side_by_side(
    explorer: Explorer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    other = Workspace(tmp_path / "other")
    fill(other)
    process_results(other.paths, ENABLED)
    about = {"eval_type_id": "core", "sae_lens_id": "x", "sae_lens_release_id": "r"}
    other.publish("sae_bench.json", {**about, "eval_result_metrics": sae_bench_core()})
    folders = [explorer.merged.parent, other.paths.results, other.paths.published]
    assert main(["explore", *map(str, folders), "--out", "page"]) == 0
    assert "21 SAEs" in capsys.readouterr().out
    page = (tmp_path / "page" / "index.html").read_text()
    index = json.loads(re.search(r'id="explorer-data">(.*?)</script>', page, re.S)[1])  # type: ignore[index]
    assert len({sae["name"] for sae in index["saes"]}) == 21 and len(index["runs"]) == 3
    assert {"topk_0 (other, computed)"} <= {sae["name"] for sae in index["saes"]}
    # Both runs have the same settings and data, so that their pairs can be paired.
    assert len({sae["units"]["core"] for sae in index["saes"] if sae["source"] == "computed"}) == 1
    assert main(["explore", *map(str, folders), "--out", "page"]) == 0
    for arguments, message in (
        (["explore", "nowhere", "--out", "page"], "is no folder"),
        (["explore", ".", "--out", "other"], "holds something else"),
        (["explore", "page", "page", "--out", "new"], "given twice"),
        (["explore", "page", "--out", "new"], "holds no results"),
        (["explore", "page", "--out", "new", "--names", "a", "b"], "expected 1 different"),
    ):
        assert main(arguments) == 1
        assert message in caplog.text
        caplog.clear()
    assert not (tmp_path / "new").exists()


def test_names_of_folders_are_as_short_as_they_can_be(tmp_path: Path) -> None:
    folders = [tmp_path / name / "eval_results" for name in ("a", "b")]
    assert names_of(folders, None) == ["a", "b"]
    assert names_of([tmp_path / "x" / "run", tmp_path / "y" / "run"], None) == ["x/run", "y/run"]
    with pytest.raises(UserError, match="given twice"):
        names_of([tmp_path, tmp_path], None)


def test_an_sae_of_other_units_has_another_mark(explorer: Explorer) -> None:
    """Pairs are paired only where eval settings, data, model, seed and engine are the same."""
    run = read_merged(explorer.merged, "small")
    saes = [dict(sae) for sae in run.document["saes"]]
    cell = saes[0]["evals"]["core"]
    saes[0]["evals"] = {**saes[0]["evals"], "core": {**cell, "settings": {**cell["settings"], "batch_size": 1}}}
    changed = replace(run, document={"saes": saes})
    first, second, *_ = (about["units"] for about in about_members([changed], fleet_of([changed])))
    assert first["core"] != second["core"] and first["absorption"] == second["absorption"]
