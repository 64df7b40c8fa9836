"""Labelled data sets that `params.yaml` describes: columns, classes, groups and pairs, and those that are wrong."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sae_research.data.described import read_described
from sae_research.data.draw import is_held_out
from sae_research.data.labelled import LabelledSet, labelled_revision, load_labelled, require_name
from sae_research.data.paired import load_pairs, require_crossed
from sae_research.errors import UserError
from sae_research.records import read_record
from sae_research.sources.described import DescribedSet
from sae_research.sources.hub import Hub


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])


def rows(n: int, prefix: str = "") -> list[tuple[str, str, str]]:
    """`n` texts of each of three topics, half of them by each of two authors; then a row without a text."""
    kept = [(f"{prefix}{topic} {i}", topic, f"author {i % 2}") for topic in ("b", "a", "10") for i in range(n)]
    return [*kept, (" ", "a", "author 0")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_csv(tmp_path / "own" / "train.csv", ("body", "topic", "author"), rows(40))
    write_csv(tmp_path / "own" / "test.csv", ("body", "topic", "author"), rows(12, "test "))
    return tmp_path / "own"


def hub_with(folder: Path, **description: Any) -> Hub:
    described = read_record(
        DescribedSet, {"repo": str(folder), "text": "body", "label": "topic", **description}, where="p"
    )
    return Hub(folder.parent / "world", described={"mine": described})


def load(hub: Hub, train: int = 20, test: int = 8) -> LabelledSet:
    return load_labelled(hub, "mine", train_per_class=train, test_per_class=test, seed=0)


def starts(texts: Sequence[str]) -> set[str]:
    return {text.rpartition(" ")[0] for text in texts}


def test_labels_are_the_classes_numbers_first(folder: Path) -> None:
    labelled = load(hub_with(folder))
    assert labelled.codes == {"10": "10", "a": "a", "b": "b"}
    assert {name: starts(texts) for name, texts in labelled.train.items()} == {"10": {"10"}, "a": {"a"}, "b": {"b"}}
    assert {name: starts(texts) for name, texts in labelled.test.items()} == {
        n: {f"test {n}"} for n in ("10", "a", "b")
    }
    assert all(len(texts) == 20 and "" not in map(str.strip, texts) for texts in labelled.train.values())


def test_classes_have_the_names_of_the_description_or_of_the_data_set(folder: Path) -> None:
    (folder / "dataset_info.json").write_text(
        json.dumps({"classes": {"topic": {"a": "Art", "b": "Biology", "10": "Ten"}}})
    )
    assert load(hub_with(folder)).codes == {"Ten": "10", "Art": "a", "Biology": "b"}
    chosen = load(hub_with(folder, classes={"b": "Botany", 10: "Zehn"}))
    assert chosen.codes == {"Botany": "b", "Zehn": "10"}
    assert {name: starts(texts) for name, texts in chosen.train.items()} == {"Botany": {"b"}, "Zehn": {"10"}}


def test_every_group_has_its_share_of_a_class(folder: Path) -> None:
    labelled = load(hub_with(folder, group="author"), train=10)
    for texts in labelled.train.values():
        assert [int(text.split()[-1]) % 2 for text in texts] == [0] * 5 + [1] * 5


def test_pairs_for_scr(folder: Path) -> None:
    hub = hub_with(folder, group="author", pairs=[["a", "b"]], groups=["author 1", "author 0"])
    [paired] = load_pairs(hub, "mine", train=4, test=3, seed=0, sampling="keyed")
    assert paired.pair == ("a", "b")
    assert starts(paired.train.first_first) == {"a"} and starts(paired.test.second_first) == {"test b"}
    assert {int(text.split()[-1]) % 2 for text in paired.train.first_first} == {1}
    assert (len(paired.train.first_first), len(paired.train.first_second)) == (8, 4)
    [other] = load_pairs(
        hub_with(folder, group="author", pairs=[["a", "b"]]), "mine", train=4, test=3, seed=0, sampling="keyed"
    )
    assert {int(text.split()[-1]) % 2 for text in other.train.first_first} == {0}


def test_without_a_test_split_a_third_is_held_out_by_beginnings(folder: Path) -> None:
    (folder / "test.csv").unlink()
    long = [("so it begins " * 20 + ending, "a", "author 0") for ending in ("one", "two", "three", "four")]
    write_csv(folder / "train.csv", ("body", "topic", "author"), [*rows(40), *long])
    pool = read_described(hub_with(folder, group="author"), "mine")
    assert pool.test is not None
    sides = {"train": pool.train, "test": pool.test}
    texts = {side: {t for c in classes.values() for g in c.values() for t in g} for side, classes in sides.items()}
    assert not texts["train"] & texts["test"]
    assert all(is_held_out(text) for text in texts["test"]) and not any(map(is_held_out, texts["train"]))
    assert 25 < len(texts["test"]) < 55
    assert sum(any(text.startswith("so it begins") for text in side) for side in texts.values()) == 1


def test_the_revision_is_the_folders_and_its_files_count(folder: Path) -> None:
    hub = hub_with(folder)
    before = labelled_revision(hub, "mine")
    assert before == load(hub).revision == hub.dataset_revision(str(folder))
    (folder / "test.csv").write_text((folder / "test.csv").read_text() + "one more,a,author 0\n")
    assert labelled_revision(hub, "mine") != before
    require_name("mine", hub.described)


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ({"label": "subject"}, r"train\.csv: no column 'subject'; it has: body, topic, author"),
        ({"classes": {"a": "A", "z": "Z"}}, r"'mine': no text has the label 'z' in column 'topic'; .* are: .*a"),
        (
            {"classes": {"a": "A", "b": "B"}, "label": "body", "text": "topic"},
            r"no text has the label 'a' in column 'body'",
        ),
        ({"repo": "/nowhere/at/all"}, "'/nowhere/at/all': there is no such folder"),
    ],
)
def test_descriptions_that_do_not_fit(description: dict[str, Any], message: str, folder: Path) -> None:
    with pytest.raises(UserError, match=message):
        load(hub_with(folder, **description))


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ({"pairs": [["a", "b"]]}, "pairs needs at least one pair, and group"),
        ({"group": "author", "pairs": []}, "pairs needs at least one pair"),
        ({"group": "author", "pairs": [["a", "a"]]}, r"pairs holds \['a', 'a'\], expected the names of two classes"),
        (
            {"group": "author", "pairs": [["a", "z"]], "classes": {"a": "a", "b": "b"}},
            "expected the names of two classes",
        ),
        ({"groups": ["author 0", "author 1"]}, "groups needs two different labels, and group"),
        ({"group": "topic"}, "name a column twice: body, topic, topic"),
        ({"classes": {"a": "A", "b": "A"}}, "at least two labels with different names"),
        ({"classes": {"a" * 101: "A", "b": "B"}}, "a label of more than 100 letters"),
        ({"classes": {"a": "A"}}, "at least two labels with different names"),
        ({"text": ""}, "must not be empty"),
        ({"colour": "red"}, "unknown key 'colour'; valid: repo, text, label, group, classes, groups, pairs"),
    ],
)
def test_descriptions_that_contradict_themselves(description: dict[str, Any], message: str, folder: Path) -> None:
    with pytest.raises(UserError, match=message):
        hub_with(folder, **description)


def test_scr_needs_pairs_of_classes_and_two_groups(folder: Path) -> None:
    with pytest.raises(UserError, match=r"'mine' has no pairs of classes.*data_sets\.mine `group: COLUMN`"):
        require_crossed("mine", hub_with(folder).described)
    for description, message in (
        ({"pairs": [["a", "Art"]]}, r"pairs names 'Art', which is no class; the classes are: 10, a, b"),
        (
            {"pairs": [["a", "b"]], "groups": ["author 0", "author 7"]},
            "SCR needs two groups, column 'author' holds: author 0",
        ),
    ):
        hub = hub_with(folder, group="author", **description)
        with pytest.raises(UserError, match=message):
            load_pairs(hub, "mine", train=4, test=3, seed=0, sampling="keyed")


def test_a_column_of_numbers_or_of_one_label_is_no_column_of_classes(folder: Path) -> None:
    write_csv(folder / "train.csv", ("body", "topic"), [(f"text {i}", i) for i in range(1500)])
    with pytest.raises(UserError, match="column 'topic' holds more than 1000 labels, which are no classes"):
        load(hub_with(folder))
    write_csv(folder / "train.csv", ("body", "topic"), [(f"text {i}", "a") for i in range(50)])
    with pytest.raises(UserError, match="column 'topic' holds 1 label, expected at least 2"):
        load(hub_with(folder))
    (folder / "dataset_info.json").write_text('{"classes": {"topic": ["a"]}}')
    with pytest.raises(UserError, match=r"dataset_info\.json: classes is .*expected"):
        load(hub_with(folder))
