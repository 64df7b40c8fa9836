"""Reads data sets as parquet files, split by split, and no more files than needed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sae_research.errors import UserError
from sae_research.sources.hub import Hub, RemoteFiles

_USUAL_CONFIGS = ("data", "default", "plain_text", "")
"""Folders of the default configuration, the most common first ('': the root)."""
_ROWS = 1024
"""Rows held in memory at a time."""


def split_files(
    hub: Hub, dataset_id: str, split: str, *, config: str | None = None, revision: str | None = None
) -> RemoteFiles:
    """The parquet files of one split, in the order of their names, none fetched yet.

    Both layouts of the hub are read: `<config>/<split>-00000-of-00002.parquet` and, in its own conversions,
    `<config>/<split>/0000.parquet` (`partial-<split>` where it converted only the first gigabytes).
    """
    files = hub.dataset_files(dataset_id, lambda name: name.endswith(".parquet"), revision=revision)
    of_split = re.compile(rf"(?:(?P<config>.+)/)?(?:partial-)?{re.escape(split)}(?:[-._/].*)?\.parquet")
    by_config: dict[str, list[str]] = {}
    for name in files.names:
        match = of_split.fullmatch(name)
        if match:
            by_config.setdefault(match["config"] or "", []).append(name)
    if not by_config:
        shown = ", ".join(files.names[:8])
        raise UserError(f"data set {dataset_id!r} has no {split!r} split; its parquet files: {shown}")
    names = by_config[_choose(config, sorted(by_config), dataset_id)]
    return RemoteFiles(tuple(names), files.revision, files.fetch)


def _choose(wanted: str | None, present: Sequence[str], dataset_id: str) -> str:
    if wanted is None and len(present) == 1:
        return present[0]
    for config in _USUAL_CONFIGS if wanted is None else (wanted, f"data/{wanted}"):
        if config in present:
            return config
    raise UserError(f"data set {dataset_id!r} has no configuration {wanted!r}; valid: {', '.join(present[:20])}")


def read_files(files: RemoteFiles, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """The rows of all `files`, one after the other; a file is fetched when its first row is read."""
    for name in files.names:
        yield from read_file(files.fetch(name), columns)


def read_file(path: Path, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """The rows of one file as tuples in the order of `columns`."""
    present = column_names(path)
    lacking = [column for column in columns if column not in present]
    if lacking:
        raise UserError(f"{path}: no column {', '.join(map(repr, lacking))}; it has: {', '.join(present)}")
    with _open(path) as file:
        try:
            for batch in file.iter_batches(batch_size=_ROWS, columns=list(columns)):
                yield from zip(*(batch.column(column).to_pylist() for column in columns), strict=True)
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(path, error) from error


def column_names(path: Path) -> tuple[str, ...]:
    """The names of a parquet file's columns."""
    with _open(path) as file:
        return tuple(file.schema_arrow.names)


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> UserError:
    return UserError(f"{path}: not a complete parquet file ({error}); delete it, and it is fetched or built again")
