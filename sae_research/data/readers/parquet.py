"""Parquet: read in batches of rows, of which memory holds one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sae_research.errors import UserError

_ROWS = 1024
"""Rows held in memory at a time."""


def placed_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """The rows as tuples in the order of `columns`, each with its place in the file."""
    numbers = count(1)
    with _open(path) as file:
        try:
            for batch in file.iter_batches(batch_size=_ROWS, columns=list(columns)):
                values = [batch.column(column).to_pylist() for column in columns]
                for row in zip(*values, strict=True):
                    yield f"row {next(numbers)}", row
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(path, error) from error


def column_names(path: Path) -> tuple[str, ...]:
    """The names of the columns."""
    with _open(path) as file:
        return tuple(file.schema_arrow.names)


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> UserError:
    return UserError(f"{path}: not a complete parquet file ({error}); delete it, and it is fetched or built again")
