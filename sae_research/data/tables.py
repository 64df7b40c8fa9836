"""Reads data sets as tables, split by split, and no more of them than needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from sae_research.data.readers import delimited, json_lines, parquet, plain_text
from sae_research.errors import UserError
from sae_research.sources.hub import Hub, RemoteFiles
from sae_research.sources.tables import (
    DELIMITED,
    JSON_LINES,
    PARQUET,
    PLAIN_TEXT,
    by_config,
    has_splits,
    is_table,
    seems_split,
    table_format,
)

_READERS: dict[str | None, ModuleType] = {
    PARQUET: parquet,
    JSON_LINES: json_lines,
    DELIMITED: delimited,
    PLAIN_TEXT: plain_text,
}
_USUAL_CONFIGS = ("data", "default", "plain_text", "")
"""Folders of the default configuration, the most common first ('': the root)."""
WHOLE = "train"
"""The split that a data set is whose files name none."""


def split_files(
    hub: Hub, dataset_id: str, split: str, *, config: str | None = None, revision: str | None = None
) -> RemoteFiles:
    """The tables of one split, in the order of their names, none fetched yet.

    Files whose names say no split are `train`. Parquet comes before all other formats, which must not be mixed.
    """
    files = hub.dataset_files(dataset_id, is_table, revision=revision)
    configs = by_config(files.names, split)
    if not configs and split == WHOLE and not has_splits(files.names):
        configs = _whole(files.names, dataset_id)
    if not configs:
        remedy = "" if has_splits(files.names) else f", which are its {WHOLE!r} split by their names"
        raise UserError(
            f"data set {dataset_id!r} has no {split!r} split; its files: {', '.join(files.names[:8])}{remedy}"
        )
    names = configs[_choose(config, sorted(configs), dataset_id)]
    return RemoteFiles(tuple(_of_one_format(names, dataset_id)), files.revision, files.fetch)


def has_split(hub: Hub, dataset_id: str, split: str) -> bool:
    """Whether the data set has tables of that split; downloads nothing."""
    return bool(by_config(hub.dataset_files(dataset_id, is_table).names, split))


def _whole(names: Sequence[str], dataset_id: str) -> dict[str, list[str]]:
    unclear = next(filter(seems_split, names), None)
    if unclear is not None:
        raise UserError(
            f"data set {dataset_id!r}: {unclear!r} seems to be one of several splits; name the files train.csv and "
            "test.csv (or .jsonl, .parquet, .txt), or put them into folders train and test"
        )
    return {"": list(names)}


def _choose(wanted: str | None, present: Sequence[str], dataset_id: str) -> str:
    if wanted is None and len(present) == 1:
        return present[0]
    for config in _USUAL_CONFIGS if wanted is None else (wanted, f"data/{wanted}"):
        if config in present:
            return config
    raise UserError(f"data set {dataset_id!r} has no configuration {wanted!r}; valid: {', '.join(present[:20])}")


def _of_one_format(names: Sequence[str], dataset_id: str) -> list[str]:
    by_format: dict[str | None, list[str]] = {}
    for name in names:
        by_format.setdefault(table_format(name), []).append(name)
    if PARQUET in by_format:
        return by_format[PARQUET]
    if len(by_format) > 1:
        first = ", ".join(of_format[0] for of_format in by_format.values())
        raise UserError(
            f"data set {dataset_id!r} mixes {' and '.join(map(str, by_format))} ({first}); keep one format in it"
        )
    return list(names)


def read_files(files: RemoteFiles, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """The rows of all `files`, one after the other; a file is fetched when its first row is read."""
    for name in files.names:
        yield from read_file(files.fetch(name), columns)


def read_texts(files: RemoteFiles, column: str, *others: str) -> Iterator[tuple[Any, ...]]:
    """As `read_files`, where `column` must hold texts, and the others single values; rows without a text are left out.

    A UserError names the file and the place of what does not.
    """
    for name in files.names:
        path = files.fetch(name)
        for place, row in _placed_rows(path, (column, *others)):
            if row[0] is None:
                continue
            problem = _problem(column, row[0], others, row[1:])
            if problem is not None:
                raise UserError(f"{path}, {place}: {problem}")
            yield row


def _problem(column: str, text: Any, others: Sequence[str], values: Sequence[Any]) -> str | None:
    if not isinstance(text, str):
        return f"{column!r} holds a {type(text).__name__}, expected a text"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return f"{column!r} holds half a character (a lone surrogate)"
    nested = next((n for n, v in zip(others, values, strict=True) if isinstance(v, list | dict)), None)
    return None if nested is None else f"{nested!r} holds a list or an object, expected a text or a number"


def read_file(path: Path, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """The rows of one file as tuples in the order of `columns`."""
    return (row for _, row in _placed_rows(path, columns))


def column_names(path: Path) -> tuple[str, ...]:
    """The names of a table's columns."""
    return _READERS[table_format(path.name)].column_names(path)


def _placed_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, tuple[Any, ...]]]:
    present = column_names(path)
    lacking = [column for column in columns if column not in present]
    if lacking:
        raise UserError(f"{path}: no column {', '.join(map(repr, lacking))}; it has: {', '.join(present) or 'none'}")
    yield from _READERS[table_format(path.name)].placed_rows(path, columns)
