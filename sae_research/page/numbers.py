"""The numbers of one eval as the page takes them: a line for each metric and place, a place in it for each SAE."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sae_research.page.fleet import FleetMember
from sae_research.page.packing import floats
from sae_research.results.rows import Row

Line = tuple[str, str, str]
"""Eval, metric, place as rows write it."""


@dataclass
class Numbers:
    """Values and intervals of lines by SAE; a number is NaN where there is none, and then may have a reason."""

    saes: int
    lines: dict[Line, Row] = field(default_factory=dict)
    """By line one of its rows, for title, unit and direction."""
    cells: dict[tuple[Line, int], Row] = field(default_factory=dict)

    def add(self, row: Row, sae: int) -> None:
        """Takes in the row of an SAE."""
        line = (row.eval, row.metric or "", row.at)
        self.lines.setdefault(line, row)
        self.cells[line, sae] = row

    def packed(self) -> dict[str, Any]:
        """As JSON: the ends of intervals are distances from the value."""
        shape = (len(self.lines), self.saes)
        value, below, above = (np.full(shape, math.nan) for _ in range(3))
        place = {line: index for index, line in enumerate(self.lines)}
        reasons: dict[str, int] = {}
        missing: list[list[int]] = []
        for (line, sae), row in self.cells.items():
            at = place[line], sae
            if row.value is None:
                missing.append([*at, reasons.setdefault(row.reason or "no reason is on record", len(reasons))])
                continue
            value[at] = row.value
            if row.ci_low is not None and row.ci_high is not None:
                below[at], above[at] = row.value - row.ci_low, row.ci_high - row.value
        return {
            "value": floats(value, "f8"),
            "below": floats(below, "f4"),
            "above": floats(above, "f4"),
            "missing": missing,
            "reasons": list(reasons),
        }


def numbers_of(fleet: Sequence[FleetMember], lines: Iterable[Line] | None = None) -> Numbers:
    """Those of these lines in their order, or of all in the order of the rows."""
    numbers = Numbers(len(fleet))
    wanted = None if lines is None else set(lines)
    for sae, member in enumerate(fleet):
        for row in member.rows:
            if row.metric is not None and (wanted is None or (row.eval, row.metric, row.at) in wanted):
                numbers.add(row, sae)
    if lines is not None:
        numbers.lines = {line: numbers.lines[line] for line in lines}
    return numbers


def eval_chunk(name: str, fleet: Sequence[FleetMember], columns: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    """Every number of an eval, parts and all; `columns` names the columns by metric and place."""
    numbers = Numbers(len(fleet))
    for sae, member in enumerate(fleet):
        for row in member.rows:
            if row.eval == name and row.metric is not None:
                numbers.add(row, sae)
    lines = [
        {
            "metric": metric,
            "at": row.place,
            "title": row.title or metric,
            "unit": row.unit or "",
            "direction": row.direction or "neither",
            **({"column": columns[metric, at]} if (metric, at) in columns else {}),
        }
        for (_, metric, at), row in numbers.lines.items()
    ]
    return {"eval": name, "lines": lines, "numbers": numbers.packed()}
