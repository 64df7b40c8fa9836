"""The tasks of the installed package sae-probes, against the package's files read by other means."""

from __future__ import annotations

import importlib.metadata
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sae_research.data.draw import is_held_out
from sae_research.data.families.sae_probes import RUNNING_TEXT, SaeProbes
from sae_research.data.labelled import LabelledSet, labelled_revision, load_labelled
from sae_research.data.running import text_revision
from sae_research.data.text import load_texts
from sae_research.errors import UserError
from sae_research.sources.hub import Hub

HUB = Hub(Path("no-world"))
try:
    VERSION = importlib.metadata.version("sae-probes")
except importlib.metadata.PackageNotFoundError:
    VERSION = ""
installed = pytest.mark.skipif(not VERSION, reason="sae-probes is not installed (requirements-real.lock)")


@pytest.fixture(scope="module")
def frame() -> Any:
    """`frame(task)`: its rows as pandas reads them."""
    folder = Path(str(importlib.metadata.distribution("sae-probes").locate_file("sae_probes/data/cleaned_data")))

    def read(pattern: str) -> pd.DataFrame:
        [path] = folder.glob(f"{pattern}.csv.zst")
        return pd.read_csv(path, dtype=str, keep_default_na=False)

    return read


def load(name: str, train: int = 60, test: int = 30, seed: int = 0) -> LabelledSet:
    return load_labelled(HUB, name, train_per_class=train, test_per_class=test, seed=seed)


@installed
def test_every_task_of_the_packages_own_list_is_a_data_set(frame: Any) -> None:
    folder = importlib.metadata.distribution("sae-probes").locate_file("sae_probes/data")
    listed = pd.read_csv(Path(str(folder)) / "probing_datasets_MASTER.csv.zst")
    kinds = listed[listed["Data type"].isin(["Binary Classification", "Multiclass Classification"])]
    names = [f"sae-probes/{tag}".replace(" ", "_") for tag in kinds["Dataset Tag"]]
    assert sorted(SaeProbes.names) == sorted(names)
    assert (kinds["Data type"] == "Binary Classification").sum() == 113


@installed
@pytest.mark.parametrize(
    ("name", "pattern"),
    [("toxic_is", "95_*"), ("it_tick_HR_Support", "151_*"), ("news_class", "97_*"), ("hist_fig_ismale", "5_*")],
)
def test_a_task_is_its_rows_each_text_once_and_no_text_on_both_sides(name: str, pattern: str, frame: Any) -> None:
    rows = frame(pattern)
    labels: dict[str, set[str]] = defaultdict(set)
    for text, label in zip(rows["prompt"], rows["target"], strict=True):
        labels[text].add(label)
    pool = SaeProbes.read(HUB, f"sae-probes/{name}", n_texts=0)
    read = {"train": pool.train, "test": pool.test or {}}
    flat = [(t, c, split) for split, classes in read.items() for c, g in classes.items() for t in g[""]]
    assert {(text, label) for text, label, _ in flat} == {(t, next(iter(s))) for t, s in labels.items() if len(s) == 1}
    assert len(flat) == len({text for text, _, _ in flat}) < len(rows)
    assert all(is_held_out(text) == (split == "test") for text, _, split in flat)
    assert 0.28 < sum(split == "test" for _, _, split in flat) / len(flat) < 0.38
    assert list(pool.codes) == sorted(set(rows["target"]))
    assert pool.revision.startswith(f"sae-probes=={VERSION} sha256:")


@installed
def test_draws_are_balanced_and_the_same_each_time() -> None:
    one, other = load("sae-probes/glue_sst2"), load("sae-probes/glue_sst2", seed=1)
    assert one == load("sae-probes/glue_sst2") != other
    assert {name: len(texts) for name, texts in one.train.items()} == {"0": 60, "1": 60}
    assert {name: len(texts) for name, texts in one.test.items()} == {"0": 30, "1": 30}
    assert labelled_revision(HUB, "sae-probes/glue_sst2") == one.revision
    assert "sae_probes" not in sys.modules
    with pytest.raises(UserError, match=r"'sae-probes/temp_cat', train split: class '.*' has \d+ texts, needed 400"):
        load("sae-probes/temp_cat", train=400)


@installed
def test_running_text_is_whole_documents_of_which_train_shares_none_with_held_out_rows(frame: Any) -> None:
    train, test = list(load_texts(HUB, RUNNING_TEXT)), list(load_texts(HUB, RUNNING_TEXT, "test"))
    whole = {text for task in ("100_*", "101_*", "157_*", "48_*") for text in frame(task)["prompt"]}
    assert {*train, *test} == {text for text in whole if 400 <= len(text) < 8192}
    assert len(train) == len(set(train)) and not {*train} & {*test}
    # Words of about 4.5 letters make some two million tokens.
    assert sum(map(len, train)) > 8e6 and sum(map(len, test)) > 4e6
    held_out = {
        text
        for name in ("news_fake", "disease_class", "amazon_5star", "cm_isshort")
        for of_class in (SaeProbes.read(HUB, f"sae-probes/{name}", n_texts=0).test or {}).values()
        for text in of_class[""]
    }
    assert not held_out & {*train}
    # Not even the beginning of one.
    assert not {text[:200] for text in held_out} & {text[:200] for text in train}
    # All sources from the start.
    assert len({len(text) // 1000 for text in train[:100]}) > 3
    assert text_revision(HUB, RUNNING_TEXT).startswith(f"sae-probes=={VERSION} sha256:")
    with pytest.raises(UserError, match="no 'validation' split; valid: train, test"):
        load_texts(HUB, RUNNING_TEXT, "validation")


def test_tasks_on_the_same_texts_say_so() -> None:
    assert SaeProbes.texts("sae-probes/us_state_FL") == SaeProbes.texts("sae-probes/world_country")
    assert SaeProbes.texts("sae-probes/news_class_Politics") == SaeProbes.texts("sae-probes/agnews_0")
    assert SaeProbes.texts("sae-probes/glue_cola") == "sae-probes/glue_cola"


def test_without_the_package_the_message_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> object:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr("sae_research.sources.packages.distribution", missing)
    with pytest.raises(UserError, match=r"'sae-probes' is not installed; .*pip install --no-deps sae-probes"):
        load("sae-probes/glue_sst2")
