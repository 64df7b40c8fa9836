"""JSON lines: one object a line; or one list of objects as the whole file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sae_research.data.readers.lines import text_lines, whole_text
from sae_research.errors import UserError


def placed_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """The values of `columns` of each object, with its line, or its number in the list."""
    for place, row in _objects(path):
        lacking = [column for column in columns if column not in row]
        if lacking:
            names = ", ".join(map(repr, lacking))
            raise UserError(f"{path}, {place}: no {names}; it has: {', '.join(row) or 'nothing'}")
        yield place, tuple(row[column] for column in columns)


def column_names(path: Path) -> tuple[str, ...]:
    """The keys of the first object."""
    return next((tuple(row) for _, row in _objects(path)), ())


def _objects(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    lines = ((number, line) for number, line in text_lines(path) if line.strip())
    for first, (number, line) in enumerate(lines):
        if first == 0 and line.lstrip().startswith("["):
            for item, row in enumerate(_parsed(whole_text(path), str(path)), start=1):
                yield _checked(row, path, f"item {item}")
            return
        yield _checked(_parsed(line, f"{path}, line {number}"), path, f"line {number}")


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        problem = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise UserError(
            f"{where} is not JSON ({problem}); expected one object a line, or one list of objects"
        ) from error


def _checked(row: Any, path: Path, place: str) -> tuple[str, dict[str, Any]]:
    if not isinstance(row, dict):
        raise UserError(f"{path}, {place} holds a {type(row).__name__}, expected an object such as {{...}}")
    return place, row
