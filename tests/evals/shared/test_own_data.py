"""Evals on data of one's own: tables of any format, labelled as `params.yaml` describes them."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.tiny_data import texts, write_bios, write_news, write_text

from sae_research.data.families.bias_in_bios import BiasInBios
from sae_research.evals.base import EvalContext
from sae_research.evals.core.rows import documents_of
from sae_research.evals.keys import shared_parts
from sae_research.evals.registry import find_eval
from sae_research.evals.run import run_eval
from sae_research.measurements import EvalOutput
from sae_research.records import read_record
from sae_research.sources.described import DescribedSet
from sae_research.sources.hub import Hub

NEWS = {"repo": "", "classes": {"0": "low", "1": "high"}}
BIOS = {
    "repo": "",
    "text": "hard_text",
    "label": "profession",
    "group": "gender",
    "pairs": BiasInBios.crossed["embedded/bios"].pairs,
}


def output(context: EvalContext, sae: Any, eval_name: str, settings: Mapping[str, Any]) -> EvalOutput:
    evaluated = find_eval(eval_name)
    read = read_record(evaluated.settings, settings, where=eval_name)
    [(_, result, error)] = run_eval(context, evaluated, read, [sae], parts=lambda _: {})
    assert result is not None, error
    return result.output


def as_csv(parquet: Path, folder: Path) -> None:
    table = pq.read_table(parquet).to_pydict()
    with (folder / f"{parquet.name.partition('-')[0].partition('.')[0]}.csv").open("w", newline="") as file:
        csv.writer(file).writerows([list(table), *zip(*table.values(), strict=True)])


@pytest.fixture
def described(tmp_path: Path) -> dict[str, DescribedSet]:
    """The world's news and bios once more as CSV in other folders."""
    sets = {}
    for name, write, description in (("news", write_news, NEWS), ("bios", write_bios, BIOS)):
        write(tmp_path)
        folder = tmp_path / f"my {name}"
        folder.mkdir()
        for parquet in (tmp_path / "datasets" / name).rglob("*.parquet"):
            as_csv(parquet, folder)
        shutil.copy(tmp_path / "datasets" / name / "dataset_info.json", folder)
        sets[f"embedded/{name}"] = read_record(DescribedSet, description | {"repo": str(folder)}, where="data_sets")
    return sets


SETTINGS: dict[str, dict[str, Any]] = {
    "sparse_probing": {"dataset_names": ["embedded/news"], "train_size": 20, "test_size": 10, "k_values": [1, 2]},
    "tpp": {"dataset_names": ["embedded/bios"], "train_size": 20, "test_size": 10, "n_values": [2]},
    "scr": {"dataset_names": ["embedded/bios"], "train_size": 20, "test_size": 16, "n_values": [2]},
}


@pytest.mark.parametrize("eval_name", SETTINGS)
def test_a_described_set_is_measured_as_the_same_texts_of_a_family(
    eval_name: str, context: EvalContext, described: dict[str, DescribedSet], make_sae: Any
) -> None:
    """Under the same name, which is part of the key of every draw."""
    sae, settings = make_sae("relu"), SETTINGS[eval_name] | {"context_size": 12}
    known = output(context, sae, eval_name, settings)
    mine = output(replace(context, hub=Hub(context.hub.world, described=described)), sae, eval_name, settings)
    assert mine == known
    assert any(m.value is not None for m in mine.measurements)


def test_the_columns_stand_in_the_key_and_the_folder_does_not(
    described: dict[str, DescribedSet], tmp_path: Path
) -> None:
    def parts(one: DescribedSet | None) -> dict[str, Any]:
        evaluated = find_eval("sparse_probing")
        settings = read_record(evaluated.settings, SETTINGS["sparse_probing"], where="s")
        hub = Hub(tmp_path, described={} if one is None else {"embedded/news": one})
        return shared_parts(evaluated, settings, engine="native", model={}, hub=hub, seed=0)

    mine = described["embedded/news"]
    before = parts(mine)
    mine = replace(mine, repo=str(Path(mine.repo).rename(tmp_path / "elsewhere")))
    assert parts(mine) == before
    for change in ({"text": "body"}, {"label": "topic"}, {"group": "g"}, {"classes": {"1": "low", "0": "high"}}):
        assert parts(replace(mine, **change)) != before
    assert "data_sets" not in parts(None)


@pytest.mark.parametrize("form", ["jsonl", "csv", "txt"])
def test_core_reads_text_of_any_format_document_by_document(
    form: str, context: EvalContext, make_sae: Any, tmp_path: Path
) -> None:
    """The numbers and intervals, whose units are documents, are those of the same texts in parquet."""
    write_text(tmp_path)
    documents = texts(np.random.default_rng(0), 40)
    folder = tmp_path / "mine" / "test"
    folder.mkdir(parents=True)
    if form == "txt":
        for number, text in enumerate(documents):
            (folder / f"{number:03}.txt").write_text(text)
    elif form == "csv":
        with (folder / "a.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["text"], *([text] for text in documents)])
    else:
        (folder / "a.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in documents))
    settings = {
        "split": "test",
        "context_size": 12,
        "batch_size": 4,
        "n_reconstruction_batches": 2,
        "n_sparsity_batches": 3,
    }
    sae = make_sae("relu")
    mine = output(context, sae, "core", settings | {"dataset": str(folder.parent)})
    known = output(context, sae, "core", settings | {"dataset": "embedded/text"})
    assert mine.measurements == known.measurements
    assert any(m.ci_low is not None for m in mine.measurements)


def test_documents_are_told_apart(context: EvalContext, tmp_path: Path) -> None:
    from sae_research.data.text import load_texts, token_rows

    (tmp_path / "t.jsonl").write_text("".join(json.dumps({"text": "w3 " * n}) + "\n" for n in (30, 5, 40)))
    rows = token_rows(load_texts(context.hub, str(tmp_path / "t.jsonl")), context.lm.tokenizer, context_size=11)
    # 30 words fill three rows of ten; the second document and a BOS begin the fourth.
    assert documents_of(rows, context.lm.special_ids).tolist() == [0, 0, 0, 0, 1, 1, 1][: len(rows)]
