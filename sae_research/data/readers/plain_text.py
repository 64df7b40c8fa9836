"""Plain text: a file is one document, the only row of a table with the column `text`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from sae_research.data.readers.lines import whole_text


def placed_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The document."""
    yield "line 1", (whole_text(path),) * len(columns)


def column_names(path: Path) -> tuple[str, ...]:
    """`text` alone."""
    return ("text",)
