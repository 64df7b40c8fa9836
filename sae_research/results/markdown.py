"""What the sections of the report share: tables, names, column titles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sae_research.results.rows import Row

ARROWS: Mapping[str | None, str] = {"higher": " ↑", "lower": " ↓"}


def table(header: Sequence[str], lines: Iterable[Sequence[str]], *, numbers_from: int = 1) -> str:
    """A Markdown table; columns from `numbers_from` on are set flush right."""
    rule = [":--" if index < numbers_from else "--:" for index in range(len(header))]
    cells = ([_cell(text) for text in line] for line in [header, rule, *lines])
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _cell(text: str) -> str:
    """`text` on one line, without what ends a cell or starts a tag."""
    return plain(text).replace("|", "\\|")


def plain(text: str) -> str:
    """`text` on one line, without what starts a tag."""
    return " ".join(str(text).split()).replace("<", "&lt;")


def code(name: str) -> str:
    """A name as code, whatever it holds."""
    return f"`{' '.join(str(name).split()).replace('`', chr(39))}`"


def listed(words: Sequence[str], *, last: str = "and") -> str:
    """The words with commas, and `last` before the last one."""
    return f"{', '.join(words[:-1])} {last} {words[-1]}" if len(words) > 1 else "".join(words)


def column_title(row: Row, *, unit: bool = True) -> str:
    """The metric of `row` in words, where it was taken, its unit."""
    place = ", ".join(f"{key} = {value}" for key, value in row.place.items())
    parts = [row.title or str(row.metric), f"({place})" if place else "", f"[{row.unit}]" if row.unit and unit else ""]
    return " ".join(part for part in parts if part)
