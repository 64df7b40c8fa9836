"""Which files of a data set are tables, of which format and of which split: told by their names alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

PARQUET, JSON_LINES, DELIMITED, PLAIN_TEXT = "parquet", "JSON lines", "CSV", "text"
_FORMATS = {
    ".parquet": PARQUET,
    ".jsonl": JSON_LINES,
    ".json": JSON_LINES,
    ".csv": DELIMITED,
    ".tsv": DELIMITED,
    ".txt": PLAIN_TEXT,
}
_COMPRESSED = (".gz", ".zst")
_NO_TABLE = re.compile(
    r"dataset_infos?\.json|dataset_dict\.json|state\.json|(?:readme|licen[cs]e|requirements).*", re.I
)
"""Files that describe a data set."""
SPLITS = ("train", "test", "validation", "valid", "val", "dev")
_SPLIT_WORD = re.compile(rf"(?:^|[/._-])({'|'.join(SPLITS)})(?:[/._-]|$)")


def table_format(name: str) -> str | None:
    """The format of the table in the file `name`; None if it is none that we read."""
    path = PurePosixPath(name)
    if _NO_TABLE.fullmatch(path.name):
        return None
    if path.suffix in _COMPRESSED and path.with_suffix("").suffix != ".parquet":
        path = path.with_suffix("")
    return _FORMATS.get(path.suffix)


def is_table(name: str) -> bool:
    """Whether the file `name` is a table that we read."""
    return table_format(name) is not None


def by_config(names: Sequence[str], split: str) -> dict[str, list[str]]:
    """The tables of one split by the folder of their configuration.

    `<config>/<split>-00000-of-00002.parquet`, `<config>/<split>/0000.parquet`, where the hub converted only the first
    gigabytes `<config>/partial-<split>/0000.parquet`; without a configuration `<split>.csv` or `<split>/part1.csv`.
    """
    of_split = re.compile(rf"(?:(?P<config>.+)/)?(?:partial-)?{re.escape(split)}(?:[-._/].*)?\.[a-z]+")
    by_folder: dict[str, list[str]] = {}
    for name in filter(is_table, names):
        match = of_split.fullmatch(name)
        if match:
            by_folder.setdefault(match["config"] or "", []).append(name)
    return by_folder


def has_splits(names: Sequence[str]) -> bool:
    """Whether the tables name the split that they belong to."""
    return any(by_config(names, split) for split in SPLITS)


def seems_split(name: str) -> bool:
    """Whether a word in the name says what split it is of, perhaps in a place where it is not looked for."""
    return _SPLIT_WORD.search(name) is not None
