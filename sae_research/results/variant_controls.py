"""What a variant is ahead of its own controls: its encoder, with the same settings, on atoms that learned nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from sae_research.results.comparisons import Comparisons
from sae_research.results.leaders import main_columns
from sae_research.results.markdown import ARROWS, code, column_title, table
from sae_research.results.numbers import shown
from sae_research.results.references import baseline_name
from sae_research.results.rows import Row
from sae_research.results.summary import by_sae

ROTATION = "rotation"
"""The baseline that stands to SAEs under RAVEL as random atoms stand to a variant."""
Interval = tuple[float, float | None, float | None]
"""A difference and its ends."""


def with_differences(rows: Sequence[Row], pairs: Comparisons) -> list[Row]:
    """The rows with what they are ahead of their controls: of a variant its own, under RAVEL a random rotation."""
    controls = variant_controls(rows)
    several = len({row.hook_name for row in rows if row.source == "computed"}) > 1

    def controls_of(row: Row) -> Mapping[str, str]:
        rotation = baseline_name(ROTATION, row.hook_name, of_many_sites=several)
        return {**controls.get(row.sae, {}), ROTATION: rotation}

    return [replace(row, **_columns(row, controls_of(row), pairs)) for row in rows]


def variant_controls(rows: Sequence[Row]) -> Mapping[str, Mapping[str, str]]:
    """By variant: what its controls' atoms are, and their names."""
    controls: dict[str, dict[str, str]] = {}
    for row in rows:
        if row.source == "computed" and row.control_for is not None and row.atoms is not None:
            controls.setdefault(row.control_for, {})[row.atoms] = row.sae
    return controls


def _columns(row: Row, controls: Mapping[str, str], pairs: Comparisons) -> dict[str, float | None]:
    values: dict[str, float | None] = {}
    for atoms, control in controls.items():
        difference = _difference(row, control, pairs)
        if difference is not None:
            names = (f"over_{atoms}", f"over_{atoms}_low", f"over_{atoms}_high")
            values |= dict(zip(names, difference, strict=True))
    return values


def _difference(row: Row, control: str, pairs: Comparisons) -> Interval | None:
    """The row's number minus that of the control in the same column."""
    pair = pairs.get((row.eval, row.column or "", row.sae, control)) if row.source == "computed" else None
    if pair is None:
        return None
    if pair.sae_a == row.sae:
        return pair.difference, pair.ci_low, pair.ci_high
    # 0.0 - x is never -0.0.
    low, high = (None if end is None else 0.0 - end for end in (pair.ci_high, pair.ci_low))
    return 0.0 - pair.difference, low, high


def variants_section(rows: Sequence[Row], pairs: Comparisons) -> str:
    """The main columns of every variant, less those of each of its controls; empty without such controls."""
    controls = variant_controls(rows)
    columns = main_columns(rows)
    lines = list(_lines(rows, controls, list(columns), pairs))
    if not lines:
        return ""
    header = ["variant", "L0", "less the same encoder on", "L0"]
    header += [f"{column_title(row)}{ARROWS.get(row.direction, '')}" for row in columns.values()]
    reading = (
        "What an encoder does to any dictionary is no merit of the dictionary. Each line subtracts the numbers of the "
        "same encoder, with the same settings, on atoms that learned nothing; in brackets the paired 95 % interval. "
        "**Bold**: the learned dictionary is better, by an interval that leaves out 0. Compare lines of similar L0; "
        "`results.csv` has the differences of every column."
    )
    return "\n\n".join(["## Variants against their own controls", reading, table(header, lines, numbers_from=3)])


def _lines(
    rows: Sequence[Row], controls: Mapping[str, Mapping[str, str]], columns: Sequence[str], pairs: Comparisons
) -> Iterator[list[str]]:
    by_name = {group[0].sae: group for (source, _), group in by_sae(rows).items() if source == "computed"}
    for variant, of_variant in controls.items():
        group = by_name.get(variant, [])
        for control in of_variant.values() if group else ():
            of_column = {row.column: row for row in group}
            first, other = group[0], by_name[control][0]
            about = [code(variant), _l0(first), code(control), _l0(other)]
            yield about + [_cell(of_column.get(column), control, pairs) for column in columns]


def _l0(row: Row) -> str:
    return "–" if row.l0 is None else shown(row.l0)


def _cell(row: Row | None, control: str, pairs: Comparisons) -> str:
    difference = None if row is None else _difference(row, control, pairs)
    if row is None or difference is None:
        return "–"
    value, low, high = difference
    if low is None or high is None:
        return shown(value)
    better = high < 0 if row.direction == "lower" else low > 0
    text = f"**{shown(value)}**" if better else shown(value)
    return f"{text} [{shown(low)}, {shown(high)}]"
