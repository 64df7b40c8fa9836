"""The pipeline under real DVC: what runs again, what does not, and what is left when something goes wrong."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from support.project import Project, environment

from sae_research.yaml_text import read_yaml

pytestmark = pytest.mark.slow

IHTP_2 = {"sae_variants": {"ihtp": {"k_values": [1, 2]}}}
IHTP_1 = {"sae_variants": {"ihtp": {"k_values": [1]}}}


def _counts_per_eval(project: Project) -> int:
    return len(project.status("core"))


def _assert_close(a: object, b: object, place: str) -> None:
    """Equal but for the rounding of numbers and for the digest over them."""
    if isinstance(a, dict) and isinstance(b, dict):
        assert a.keys() == b.keys(), place
        for key in a.keys() - {"digest"}:
            _assert_close(a[key], b[key], f"{place}: {key}")
    elif isinstance(a, list) and isinstance(b, list):
        assert len(a) == len(b), place
        for x, y in zip(a, b, strict=True):
            _assert_close(x, y, place)
    elif isinstance(a, float) and isinstance(b, float):
        assert b == pytest.approx(a, rel=1e-4, abs=1e-6), place
    else:
        assert a == b, place


def test_everything_is_there_and_a_second_run_runs_nothing(finished_project: Project) -> None:
    # Byte code is written as usual: it lies beside the modules that stages depend on and must not count.
    again = finished_project.repro()
    assert again.ran == []
    assert again.out.count("didn't change, skipping") == 13
    outputs = finished_project.outputs()
    assert all(f"eval_results/merged/{name}" in outputs for name in ("results.csv", "results.json", "health.json"))
    assert b"## Health" in outputs["METRICS.md"]
    assert any(name.startswith("images/") and name.endswith(".png") for name in outputs)
    for name in ("absorption", "scr", "tpp", "ravel", "unlearning", "sensitivity", "autointerp", "dashboards"):
        status = json.loads(outputs[f"eval_results/{name}/_status.json"])
        assert status == {"eval": name, "enabled": False, "cells": []}


def test_adding_a_variant_computes_one_cell_per_eval_and_going_back_none(project: Project) -> None:
    n = _counts_per_eval(project)
    before, n_summarised = project.outputs(), _summarised(project)
    project.edit(IHTP_2)
    assert project.repro().counts == {"core": (1, n, 0), "sparse_probing": (1, n, 0)}
    assert [c["sae"] for c in project.status("core") if c["sae"].endswith("ihtp_k2")]
    assert _summarised(project) == n_summarised, "metrics.json must not grow with the number of SAEs"
    project.edit(IHTP_1)
    assert project.repro().counts == {"core": (0, n, 0), "sparse_probing": (0, n, 0)}
    # The removed SAE left no file and no row.
    assert project.outputs() == before


def _summarised(project: Project) -> int:
    """How many values metrics.json has."""

    def leaves(value: object) -> int:
        return sum(map(leaves, value.values())) if isinstance(value, dict) else 1

    return leaves(json.loads((project.root / "metrics.json").read_text()))


def test_a_changed_setting_computes_all_cells_of_its_eval_anew(project: Project) -> None:
    n = _counts_per_eval(project)
    name = project.status("core")[0]["file"]
    before = json.loads((project.root / "eval_results" / "core" / name).read_text())
    project.edit({"core_eval": {"n_sparsity_batches": 3}})
    done = project.repro()
    assert done.counts == {"core": (n, 0, 0)}
    assert done.ran == ["core_eval", "process_results", "dashboards", "visualize"]
    after = json.loads((project.root / "eval_results" / "core" / name).read_text())
    assert before["sae_research"]["key"] != after["sae_research"]["key"]
    assert before["eval_result_metrics"]["sparsity"]["l0"] != after["eval_result_metrics"]["sparsity"]["l0"]


def test_an_edit_of_code_computes_only_the_cells_that_it_reaches(project: Project) -> None:
    n = _counts_per_eval(project)
    before = project.outputs()
    for name, counts in [
        ("plots/labels.py", {"core": (0, n, 0), "sparse_probing": (0, n, 0)}),
        ("evals/core/measure.py", {"core": (n, 0, 0), "sparse_probing": (0, n, 0)}),
        ("saes/architectures/mpsae.py", {"core": (1, n - 1, 0), "sparse_probing": (1, n - 1, 0)}),
    ]:
        with (project.root / "sae_research" / name).open("a") as file:
            file.write("\n_UNUSED = 1\n")
        # The stages after these follow once, at the end.
        assert project.repro("core_eval", "sparse_probing_eval").counts == counts
    project.repro()
    after = project.outputs()
    # The keys are new where code has changed; the numbers and the pictures are not.
    without_keys = [name for name in before if not name.endswith(("results.json", "data/cards.js"))]
    assert {name: after[name] for name in without_keys} == {name: before[name] for name in without_keys}


def test_speed_settings_run_nothing_and_forced_give_the_same_bytes(project: Project) -> None:
    before = project.outputs()
    project.edit({"model": {"llm_batch_size": 3, "device": "cpu"}})
    assert project.repro().ran == []
    forced = project.repro("-f", "core_eval", "sparse_probing_eval", "-s", env={"SAE_NO_REUSE": "1"})
    assert forced.counts["core"][0] == _counts_per_eval(project)
    after = project.outputs()
    changed = [name for name in before if after[name] != before[name]]
    # float32 sums of other blocks of tokens differ in their last digits.
    assert all(name.startswith("eval_results/") and name.endswith(".json") for name in changed)
    for name in changed:
        _assert_close(json.loads(before[name]), json.loads(after[name]), name)


def test_colours_run_only_visualize(project: Project) -> None:
    project.edit({"visualization": {"colors": {"topk": "black"}}})
    assert project.repro().ran == ["visualize"]


def test_a_disabled_eval_leaves_a_valid_output(project: Project) -> None:
    project.edit({"eval_types": {"sparse_probing": False}})
    done = project.repro()
    assert done.ran == ["sparse_probing_eval", "process_results", "dashboards", "visualize"]
    assert sorted(p.name for p in (project.root / "eval_results" / "sparse_probing").iterdir()) == ["_status.json"]


def test_one_damaged_sae_fails_alone_and_is_the_only_one_done_next_time(project: Project) -> None:
    n = _counts_per_eval(project)
    weights = sorted((project.root / "downloaded_saes").glob("*topk*/sae_weights.safetensors"))[0]
    sound = weights.read_bytes()
    command = ["python", "-m", "scripts.run_core_eval"]
    weights.write_bytes(sound[:100])
    failed = project.run(*command, check=False, env={"SAE_NO_REUSE": "1"})
    assert failed.code == 1
    assert failed.counts == {"core": (n - 1, 0, 1)}
    [cell] = [c for c in project.status("core") if c["state"] == "failed"]
    assert cell["sae"] == weights.parent.name
    assert weights.name in cell["reason"]
    project.run("python", "-m", "scripts.process_results")
    table = (project.root / "eval_results" / "merged" / "results.csv").read_text()
    assert [line for line in table.splitlines() if line.startswith(cell["sae"]) and weights.name in line]
    weights.write_bytes(sound)
    (project.root / ".sae_cache" / "cells").rename(project.root / "cells")
    # Even without the store, the others are taken from the output folder.
    assert project.run(*command).counts == {"core": (1, n - 1, 0)}


def test_an_sae_of_a_layer_that_the_model_lacks_fails_in_its_own_cells(project: Project, tmp_path: Path) -> None:
    n = _counts_per_eval(project)
    shutil.copytree(project.root / "world/models/sae-topk/k8", tmp_path / "deep")
    config = tmp_path / "deep" / "cfg.json"
    elsewhere = {"hook_name": "blocks.9.hook_resid_post", "model_name": "another"}
    config.write_text(json.dumps(json.loads(config.read_text()) | {"metadata": elsewhere}))
    entries = read_yaml(project.root / "params.yaml")["comparison_saes"]
    project.edit({"comparison_saes": [*entries, {"repo_id": str(tmp_path), "filename": "deep"}]})
    first = project.repro(check=False)
    assert first.code != 0
    assert re.search(r"'topk_deep' is of layer 9, but the model has layers 0 to \d+: its evals will fail", first.out)
    again = project.run("python", "-m", "scripts.run_core_eval", check=False)
    assert again.code == 1
    assert again.counts == {"core": (0, n, 1)}
    [cell] = [c for c in project.status("core") if c["state"] == "failed"]
    assert cell["sae"] == "topk_deep"
    assert "blocks.9.hook_resid_post: model 'embedded/lm' has" in cell["reason"]
    assert len(project.status("core")) == n + 1
    probing = project.run("python", "-m", "scripts.run_sparse_probing", check=False)
    assert (probing.code, probing.counts) == (1, {"sparse_probing": (0, n, 1)})
    project.run("python", "-m", "scripts.process_results")
    table = (project.root / "eval_results" / "merged" / "results.csv").read_text()
    assert len([line for line in table.splitlines() if line.startswith("topk_deep") and "valid layers" in line]) == 2


def test_an_experiment_runs_the_code_of_its_own_workspace_and_shares_the_store(project: Project) -> None:
    n = _counts_per_eval(project)
    script = project.root / "scripts" / "run_core_eval.py"
    say = 'import sae_research\n\nprint("USED", sae_research.__file__, flush=True)\n'
    script.write_text(script.read_text().replace("\n\ndef ", f"\n{say}\n\ndef ", 1))
    project.commit("say which code")
    done = project.run("dvc", "exp", "run", "--temp", "-S", "sae_variants.ihtp.k_values=[1,2]")
    assert done.counts["core"] == (1, n, 0)
    [used] = [line for line in done.out.splitlines() if line.startswith("USED")]
    assert str(project.root / ".dvc" / "tmp") in used


def test_two_queued_experiments_run_side_by_side(project: Project) -> None:
    n = _counts_per_eval(project)
    project.run("dvc", "exp", "run", "--queue", "-S", "sae_variants.ihtp.k_values=[1,2],[1,2,3]")
    with (project.root / "queue.log").open("w") as log:
        subprocess.run(
            ["dvc", "queue", "start", "-j", "2"],
            cwd=project.root,
            env=environment(),
            stdout=log,
            stderr=log,
            check=True,
        )
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        shown = project.run("dvc", "queue", "status").out
        if shown.count("Success") == 2 or "Failed" in shown:
            break
        time.sleep(1)
    assert shown.count("Success") == 2, shown
    # k=2 is shared: computed once or identically, and there are cells for k=1, 2, 3.
    parts = list((project.root / ".sae_cache" / "cells").glob("*/*.parts"))
    assert len(parts) == 2 * (n + 2)


def test_a_clone_pulls_the_results_and_computes_only_what_is_new(project: Project, tmp_path: Path) -> None:
    n = _counts_per_eval(project)
    project.run("dvc", "remote", "add", "-d", "store", str(tmp_path / "remote"))
    project.commit("remote")
    project.run("dvc", "push")
    project.run("git", "clone", "-q", str(project.root), str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone")
    assert clone.repro("--allow-missing", "--dry").ran == []
    clone.run("dvc", "pull")
    assert clone.repro().ran == []
    clone.edit(IHTP_2)
    assert clone.repro().counts == {"core": (1, n, 0), "sparse_probing": (1, n, 0)}


def test_metrics_and_plots_commands_work(project: Project) -> None:
    project.edit({"core_eval": {"n_sparsity_batches": 3}})
    project.repro()
    assert "metrics.json" in project.run("dvc", "metrics", "diff").out
    project.run("dvc", "plots", "show", "-o", "dvc_plots")
    page = (project.root / "dvc_plots" / "index.html").read_text()
    assert "vega" in page
    assert "architecture" in page
    assert "setup" in project.run("dvc", "dag").out


def test_a_hard_linked_cache_is_never_written_through(project: Project) -> None:
    project.run("dvc", "config", "cache.type", "hardlink")
    project.run("dvc", "checkout", "--relink")
    cached = {p: p.read_bytes() for p in (project.root / ".dvc" / "cache").rglob("*") if p.is_file()}
    project.edit({"core_eval": {"n_sparsity_batches": 3}})
    for script in ("run_core_eval", "process_results", "visualize_results"):
        project.run("python", "-m", f"scripts.{script}")
    assert {p: p.read_bytes() for p in cached} == cached


def test_a_token_in_the_environment_is_recorded_nowhere(project: Project) -> None:
    project.edit({"core_eval": {"n_sparsity_batches": 3}})
    project.repro(env={"HF_TOKEN": "hf_canary0123456789"})
    places = [".dvc", ".git", ".sae_cache", "downloaded_saes", "eval_results", "images", "world"]
    files = [p for place in places for p in (project.root / place).rglob("*") if p.is_file()]
    files += [p for p in project.root.iterdir() if p.is_file()]
    assert [p for p in files if b"hf_canary" in p.read_bytes()] == []
