"""Tables of all formats hold the same rows, are found by split, read no further than needed, and say what is wrong."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sae_research.data.readers import lines
from sae_research.data.tables import column_names, has_split, read_file, read_files, read_texts, split_files
from sae_research.data.text import load_texts
from sae_research.errors import UserError
from sae_research.sources.hub import Hub

ROWS = [('a "quoted", text', "x"), ("two\nlines — ü", "y"), ("tab\there", "x")]
HUB = Hub(Path("no-world"))


def _json_lines(rows: Sequence[Any]) -> bytes:
    return b"".join(json.dumps({"label": label, "text": text}).encode() + b"\n\n" for text, label in rows)


def _zstd(content: bytes, path: Path) -> None:
    with pa.OSFile(str(path), "wb") as file, pa.CompressedOutputStream(file, "zstd") as stream:
        stream.write(content)


def write(path: Path, rows: Sequence[Any] = ROWS) -> Path:
    """The rows in the format of the file's name, through other people's writers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    name = path.name.removesuffix(".gz").removesuffix(".zst")
    if name.endswith(".parquet"):
        pq.write_table(pa.table({"text": [r[0] for r in rows], "label": [r[1] for r in rows]}), path)
        return path
    if name.endswith((".csv", ".tsv")):
        with path.open("w", newline="", encoding="utf-8-sig") as file:
            writer = csv.writer(file, delimiter="," if name.endswith("csv") else "\t")
            writer.writerows([("label", "text"), *((label, text) for text, label in rows)])
        content = path.read_bytes()
    elif name.endswith(".jsonl"):
        content = _json_lines(rows)
    else:
        content = json.dumps([{"text": text, "label": label} for text, label in rows], indent=1).encode()
    if path.suffix == ".zst":
        _zstd(content, path)
    else:
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize(
    "name", ["t.parquet", "t.jsonl", "t.jsonl.gz", "t.json", "t.json.zst", "t.csv", "t.csv.zst", "t.tsv", "t.tsv.gz"]
)
def test_every_format_holds_the_same_rows(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / name)
    assert list(read_file(path, ["text", "label"])) == ROWS
    assert list(read_file(path, ["label"])) == [("x",), ("y",), ("x",)]
    assert sorted(column_names(path)) == ["label", "text"]
    # The folder, and the file itself, as a data set.
    assert list(load_texts(HUB, str(tmp_path))) == list(load_texts(HUB, str(path))) == [text for text, _ in ROWS]


def test_a_text_file_is_one_document(tmp_path: Path) -> None:
    documents = {
        "train/b.txt": "one\n\nmore of it\n",
        "train/a.txt": "two",
        "README.txt": "no document",
        "test.txt": "x",
    }
    for name, text in documents.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert list(load_texts(HUB, str(tmp_path))) == ["two", "one\n\nmore of it\n"]
    assert list(load_texts(HUB, str(tmp_path), "test")) == ["x"]
    with pytest.raises(UserError, match=r"a\.txt: no column 'label'; it has: text"):
        list(read_files(split_files(HUB, str(tmp_path), "train"), ["label"]))


LAYOUTS: dict[str, tuple[list[str], dict[str, list[str]]]] = {
    "files": (["train.csv", "test.csv"], {"train": ["train.csv"], "test": ["test.csv"]}),
    "parts": (["train-1.jsonl", "train-0.jsonl.gz"], {"train": ["train-0.jsonl.gz", "train-1.jsonl"]}),
    "folders": (["data/train/x.csv", "data/test/y.csv"], {"train": ["data/train/x.csv"], "test": ["data/test/y.csv"]}),
    "no splits": (["b.csv", "deep/a.csv"], {"train": ["b.csv", "deep/a.csv"]}),
    "parquet first": (["train.parquet", "train.csv"], {"train": ["train.parquet"]}),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_splits_are_told_by_names(layout: str, tmp_path: Path) -> None:
    names, splits = LAYOUTS[layout]
    for name in (*names, "data/notes.md"):
        write(tmp_path / name)
    (tmp_path / "dataset_info.json").write_text("{}")
    for split in ("train", "test"):
        assert has_split(HUB, str(tmp_path), split) is (split in splits and layout != "no splits")
        if split in splits:
            assert list(split_files(HUB, str(tmp_path), split).names) == splits[split]
        else:
            with pytest.raises(UserError, match=rf"no {split!r} split; its files: "):
                split_files(HUB, str(tmp_path), split)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["my_train.csv", "my_test.csv"],
            r"'my_test\.csv' seems to be one of several splits; name the files train\.csv",
        ),
        (["a.csv", "b.jsonl"], r"mixes CSV and JSON lines \(a\.csv, b\.jsonl\); keep one format"),
        (["notes.md"], "has no parquet, JSON lines, CSV or text file; it has: nothing"),
    ],
)
def test_unclear_folders(names: list[str], message: str, tmp_path: Path) -> None:
    for name in names:
        write(tmp_path / name)
    with pytest.raises(UserError, match=message):
        split_files(HUB, str(tmp_path), "train")


@pytest.mark.parametrize("name", ["t.jsonl", "t.csv", "t.jsonl.gz"])
def test_no_more_is_read_than_needed(name: str, tmp_path: Path) -> None:
    """A damaged line far behind the wanted rows is never reached."""
    path = write(tmp_path / name, [(f"text {i} " * 50, "x") for i in range(20_000)])
    damage = b"\xff\xff\n"
    content = gzip.decompress(path.read_bytes()) + damage if name.endswith("gz") else path.read_bytes() + damage
    path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    texts = load_texts(HUB, str(path))
    assert [next(texts)[:7] for _ in range(3)] == ["text 0 ", "text 1 ", "text 2 "]
    with pytest.raises(UserError, match=r"line \d+ is not UTF-8 \(invalid start byte at byte 1\)"):
        list(texts)


def _content(text: str) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(text.encode("utf-8", "surrogatepass"))


HOSTILE: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "not JSON": ("t.jsonl", _content('{"text": "a"}\n{"text": \n'), r"t\.jsonl, line 2 is not JSON"),
    "no object": ("t.jsonl", _content('{"text": "a"}\n\n"a"\n'), r"t\.jsonl, line 3 holds a str, expected an object"),
    "no key": ("t.jsonl", _content('{"text": "a"}\n{"body": "a"}\n'), r"t\.jsonl, line 2: no 'text'; it has: body"),
    "nested text": ("t.jsonl", _content('{"text": {"a": ["b"]}}\n'), r"line 1: 'text' holds a dict, expected a text"),
    "number": ("t.jsonl", _content('{"text": "a"}\n{"text": 3}\n'), r"line 2: 'text' holds a int, expected a text"),
    "item": ("t.json", _content('[{"text": "a"}, {"text": []}]'), r"t\.json, item 2: 'text' holds a list"),
    "deep": ("t.jsonl", _content('{"text": ' + "[" * 200_000 + "\n"), r"line 1 is not JSON \(nested too deeply\)"),
    "long number": ("t.jsonl", _content('{"text": ' + "9" * 9999 + "}\n"), r"line 1 is not JSON \(Exceeds the limit"),
    "half a letter": ("t.jsonl", _content('{"text": "\\ud83d"}\n'), r"line 1: 'text' holds half a character"),
    "NUL": ("t.csv", _content("text\na\nb\0c\n"), r"t\.csv, line 3 holds NUL bytes: it is no text, or UTF-16"),
    "UTF-16": ("t.csv", lambda path: path.write_bytes("text\na\n".encode("utf-16")), r"line 1 holds NUL bytes"),
    "Latin-1": ("t.txt", lambda path: path.write_bytes("Käse".encode("latin-1")), r"t\.txt is not UTF-8"),
    "ragged": ("t.csv", _content("text,label\na,b\na,b,c\n"), r"t\.csv, line 3: 3 cells, expected 2"),
    "open quote": ("t.csv", _content('text\na\n"b\nc\n'), r"t\.csv, line 4: not CSV \(unexpected end of data\)"),
    "named twice": ("t.csv", _content("text,text\na,b\n"), r"line 1: the column 'text' is named twice"),
    "semicolons": ("t.csv", _content("text;label\na;b\n"), r"no column 'text'; it has: text;label"),
    "empty": ("t.csv", _content(""), r"no column 'text'; it has: none"),
    "cut off": (
        "t.csv.gz",
        lambda path: path.write_bytes(gzip.compress(b"text\n" + b"ab\n" * 9999)[:-20]),
        "to its end",
    ),
    "not packed": ("t.csv.zst", _content("text\na\n"), r"t\.csv\.zst: cannot be read to its end"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_wrong_is_named_by_file_and_line(case: str, tmp_path: Path) -> None:
    name, damage, message = HOSTILE[case]
    damage(tmp_path / name)
    with pytest.raises(UserError, match=message) as caught:
        list(load_texts(HUB, str(tmp_path)))
    assert str(tmp_path) in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_line_that_never_ends_is_not_held_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LONGEST", 2**20)
    path = tmp_path / "t.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b'{"text": "a"}\n{"text": "')
        for _ in range(64):
            file.write(b"a" * 2**18)
    with pytest.raises(UserError, match=r"t\.jsonl\.gz, line 2 is longer than 1 MiB"):
        list(load_texts(HUB, str(path)))
    (tmp_path / "long.txt").write_bytes(b"a" * (2**20 + 1))
    with pytest.raises(UserError, match=r"long\.txt holds more than 1 MiB; give JSON lines"):
        list(load_texts(HUB, str(tmp_path / "long.txt")))


def test_values_of_labels_are_checked_and_rows_without_text_left_out(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"text": null, "label": 1}\n{"text": "a", "label": true}\n{"text": "b", "label": {"c": 1}}\n')
    rows = read_texts(split_files(HUB, str(path), "train"), "text", "label")
    assert next(rows) == ("a", True)
    with pytest.raises(UserError, match=r"t\.jsonl, line 3: 'label' holds a list or an object"):
        next(rows)


def test_a_parquet_column_of_numbers_is_no_text(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": [1, 2]}), tmp_path / "train.parquet")
    with pytest.raises(UserError, match=r"train\.parquet, row 1: 'text' holds a int, expected a text"):
        list(load_texts(HUB, str(tmp_path)))
