"""`python -m sae_research sensitivity` with sae-sensitivity's options, and `export sensitivity`."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from support.saes import random_tensors
from support.words import D_MODEL, word_texts, words_model

from sae_research.cli import main
from sae_research.commands.export import write_sensitivity_files
from sae_research.errors import UserError
from sae_research.formats.readers.saelens import save_sae
from sae_research.lm.site import Site
from sae_research.results.document import read_result
from sae_research.saes.base import SaeCard
from sae_research.saes.build import build_sae

D_SAE = 32
OPTIONS = "--features 4 --total-tokens 7200 --context-size 48 --n-top-ex-for-generation 4 --n-iw-ex-for-generation 3"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a model, a text and two SAEs, in which the command has run once."""
    root = tmp_path_factory.mktemp("lab")
    lm = words_model()
    lm.plain_model.save_pretrained(root / "model")  # type: ignore[operator]
    lm.tokenizer.save_pretrained(root / "model")
    (root / "text").mkdir()
    pd.DataFrame({"text": word_texts(5, 600)}).to_parquet(root / "text" / "train-00000-of-00001.parquet")
    for k in (2, 4):
        card = SaeCard(f"k{k}", "topk", Site(0, "resid_post"), D_MODEL, D_SAE, "model", {"k": k})
        save_sae(build_sae(card, random_tensors("topk", d_in=D_MODEL, d_sae=D_SAE, seed=k)), root / "saes" / f"k{k}")
    with chdir(root):
        line = (
            f"sensitivity --model model --sae-names saes/k2 saes/k4 --dataset-name text {OPTIONS} --output-path out/run"
        )
        assert main(line.split()) == 0
        yield root


def test_each_sae_gets_its_six_files_and_its_document(lab: Path) -> None:
    out = lab / "out" / "run"
    assert sorted(path.name for path in out.iterdir()) == [
        "saes_k2", "saes_k2_eval_results.json", "saes_k4", "saes_k4_eval_results.json",
    ]  # fmt: skip
    result = read_result(out / "saes_k4_eval_results.json")
    numbers = {
        row["latent"]: row["sensitivity_0"]
        for row in result.output.details
        if str(row["latent"]) in result.output.unstructured
    }
    stats = pd.read_csv(out / "saes_k4" / "feature_stats.csv")
    assert len(stats) == len(numbers) == 4
    assert dict(zip(stats["feature_index"], stats["generated_sensitivity"], strict=True)) == pytest.approx(numbers)
    samples = pd.read_csv(out / "saes_k4" / "generated_samples_with_activations.csv")
    shares = (samples["max_activation"] > 0).groupby(samples["feature_index"]).mean()
    assert shares.to_dict() == pytest.approx(numbers)


def test_the_seeds_options_reach_the_eval(lab: Path) -> None:
    out = lab / "out" / "run"
    settings = read_result(out / "saes_k2_eval_results.json").settings
    asked = {name: settings[name] for name in ("dataset", "split", "n_rows", "context_size", "n_latents", "judge")}
    assert asked == {
        "dataset": "text", "split": "train", "n_rows": 150, "context_size": 48, "n_latents": 4, "judge": "rules",
    }  # fmt: skip
    # What the judge has read comes after the text in which examples are looked for.
    assert settings["reading"]["dataset"] == "text"
    assert 0 < settings["reading"]["first_text"] < 600
    with (out / "saes_k2" / "feature_examples.csv").open(newline="") as file:
        latents = [row["feature_index"] for row in csv.DictReader(file)]
    assert {latents.count(latent) for latent in latents} == {4 + 3}


def test_a_finished_run_is_exported_to_the_same_files(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = lab / "eval_results" / "sensitivity"
    folder.mkdir(parents=True)
    cells = []
    for path in sorted((lab / "out" / "run").glob("*.json")):
        (folder / path.name).write_bytes(path.read_bytes())
        sae = path.name.removesuffix("_eval_results.json")
        cells.append({"sae": sae, "state": "done", "file": path.name, "reason": None})
    (folder / "_status.json").write_text(json.dumps({"eval": "sensitivity", "enabled": True, "cells": cells}))
    assert main(["export", "sensitivity", "again/run"]) == 0
    assert "2 SAEs: saes_k2, saes_k4" in capsys.readouterr().out
    written = {p.relative_to(lab / "out"): p.read_bytes() for p in (lab / "out").rglob("*.csv")}
    assert len(written) == 12
    assert {p.relative_to(lab / "again"): p.read_bytes() for p in (lab / "again").rglob("*.csv")} == written
    (lab / "again" / "run" / "saes_k2" / "notes.txt").write_text("mine")
    assert main(["export", "sensitivity", "again/run"]) == 1
    assert (lab / "again" / "run" / "saes_k2" / "notes.txt").read_text() == "mine"


def test_an_saes_name_leads_to_no_other_folder(lab: Path, tmp_path: Path) -> None:
    result = read_result(lab / "out" / "run" / "saes_k2_eval_results.json")
    with pytest.raises(UserError, match=r"the SAE's name '\.\./up' can be no folder's"):
        write_sensitivity_files(replace(result, sae={**result.sae, "name": "../up"}), tmp_path / "in")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--sae-names py_4k_btpk_s0", "no published SAE is called 'py_4k_btpk_s0'; similar: py_4k_btopk_s0"),
        ("--sae-names gem_4k_topk_s0", "gem_4k_topk_s0 is of google/gemma-2-2b, and --model is pythia-160m-deduped"),
        ("--sae-names py_4k_topk_s0 py_4k_topk_s0", "two SAEs would be called py_4k_topk_s0"),
        ("--sae-names saes/k2 --use-saebench-examples", "SAEBench has published none of saes/k2"),
        (
            "--sae-names py_4k_topk_s0 --use-saebench-examples --n-top-ex-for-generation 9",
            "--n-top-ex-for-generation: SAEBench has chosen",
        ),
        ("--sae-names saes/k2 --llm-model gpt-4o-mini --judge rules", "give one of both"),
        ("--sae-names saes/k2 --max-workers 0", "concurrency"),
    ],
)
def test_mistakes_are_named_before_anything_is_fetched(
    lab: Path, line: str, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert main(["sensitivity", "--model", "pythia-160m-deduped", *line.split()]) == 1
    assert re.search(re.escape(message), caplog.text)


def test_nothing_is_sent_to_a_server_that_is_not_named(lab: Path, caplog: pytest.LogCaptureFixture) -> None:
    line = f"sensitivity --model model --sae-names saes/k2 --dataset-name text --llm-model gpt-4o-mini {OPTIONS}"
    assert main(line.split()) == 1
    assert "base_url" in caplog.text
