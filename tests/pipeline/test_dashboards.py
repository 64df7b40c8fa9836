"""The stage `dashboards` on the tiny project: what the others single out, the sample, and the files of the page."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from support.bench import Bench

from sae_research.page.latents import latent_chunks
from sae_research.results.document import read_result

pytestmark = pytest.mark.slow

ON = {"eval_types": {"dashboards": True}}


@pytest.fixture
def results(bench: Bench) -> Iterator[Path]:
    """`eval_results/`, with dashboards; afterwards as before."""
    folder = bench.root / "eval_results"
    kept = bench.root / "kept"
    shutil.copytree(folder, kept)
    yield folder
    shutil.rmtree(folder)
    kept.replace(folder)


def test_the_latents_that_evals_single_out_are_shown_beside_a_sample(bench: Bench, results: Path) -> None:
    done = bench.run("run_optional_evals --eval dashboards", ON)
    n = len(bench.project.status("core"))
    assert done.counts == {"dashboards": (n, 0, 0)}, done.out
    notes = pd.read_parquet(results / "merged" / "latent_notes.parquet")
    assert {*notes.name} == {"among the densest", "among the rarest", "best for a class"}
    for path in sorted((results / "dashboards").glob("*_eval_results.json")):
        shown = read_result(path)
        latents, name = shown.output.tables["latents"], str(shown.sae["name"])
        noted = set(notes.latent[notes.sae == name])
        assert noted <= set(latents["latent"].tolist())
        assert shown.key_parts["latents"] == sorted(noted)
        assert 20 <= len(latents) <= 20 + len(noted)
        # As many tokens as latents fire on by their own counts; the text is core's, but less of it.
        core = pd.read_parquet(results / "core" / f"{name}.latents.parquet")
        dead = core.feature_density[latents["latent"]].to_numpy() == 0
        assert latents["density"][dead].max(initial=0) < 0.02
    pages = dict(latent_chunks(results))
    assert pages.keys() == {cell["sae"] for cell in bench.project.status("core")}
    before = {path.name: path.read_bytes() for path in (results / "dashboards").iterdir()}
    left_out = bench.run("run_optional_evals --eval dashboards", {**ON, "dashboards": {"leave_out": ["topk_k?"]}})
    assert left_out.counts["dashboards"][:2] == (0, n - 1)
    names = {path.name for path in (results / "dashboards").iterdir()}
    gone = {"topk_k8_eval_results.json", "topk_k8.latents.parquet", "topk_k8.tokens.parquet"}
    assert before.keys() - names == gone
    assert bench.run("run_optional_evals --eval dashboards", ON).counts == {"dashboards": (0, n, 0)}
    assert {path.name: path.read_bytes() for path in (results / "dashboards").iterdir()} == before


def test_other_notes_compute_the_dashboards_of_that_sae_alone(bench: Bench, results: Path) -> None:
    bench.run("run_optional_evals --eval dashboards", ON)
    table = results / "merged" / "latent_notes.parquet"
    notes = pd.read_parquet(table)
    notes.loc[notes.index[notes.sae == "topk_k8"][0], "latent"] = 3
    notes.to_parquet(table, index=False)
    done = bench.run("run_optional_evals --eval dashboards", ON)
    assert done.counts["dashboards"][0] == 1
    shutil.rmtree(results / "merged")
    assert "run the stage process_results first" in bench.run("run_optional_evals --eval dashboards", ON).out
