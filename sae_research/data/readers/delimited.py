"""CSV and TSV: the first line names the columns; a cell in quotes may hold line breaks. All cells are texts."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from sae_research.data.readers.lines import LONGEST, text_lines
from sae_research.errors import UserError


def placed_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The cells of `columns` of each row, with the line that it ends in."""
    rows = _rows(path)
    header = next(rows, (0, []))[1]
    places = [header.index(column) for column in columns]
    for number, row in rows:
        if len(row) != len(header):
            raise UserError(f"{path}, line {number}: {len(row)} cells, expected {len(header)} as in the first line")
        yield f"line {number}", tuple(row[place] for place in places)


def column_names(path: Path) -> tuple[str, ...]:
    """The cells of the first line."""
    header = next(_rows(path), (0, []))[1]
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise UserError(f"{path}, line 1: the column {twice[0]!r} is named twice")
    return tuple(header)


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    if csv.field_size_limit() < LONGEST:
        csv.field_size_limit(LONGEST)
    delimiter = "\t" if ".tsv" in path.suffixes else ","
    reader = csv.reader((line for _, line in text_lines(path)), delimiter=delimiter, strict=True)
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: not CSV ({error})") from error
