"""The report's section on comparisons: the best SAE of each headline column, and those as good as it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from sae_research.results.comparisons import Comparison, rivals
from sae_research.results.markdown import ARROWS, column_title, table
from sae_research.results.rows import Row, interpolation
from sae_research.results.summary import best_value, headline_columns


def comparison_section(rows: Sequence[Row], comparisons: Sequence[Comparison]) -> str:
    """A table with a line per headline column that has a best SAE; empty without comparisons."""
    if not comparisons:
        return ""
    lines = list(_lines([row for row in rows if row.source == "computed"], rivals(comparisons)))
    header = ["eval", "metric", "best", "not distinguishable from it"]
    listed = [table(header, lines, numbers_from=4)] if lines else []
    return "\n\n".join(["## Comparisons", _introduction(comparisons), *listed])


def _introduction(comparisons: Sequence[Comparison]) -> str:
    pairs = [pair for pair in comparisons if pair.headline and pair.distinguishable is not None]
    raw = sum(pair.distinguishable is True for pair in pairs)
    adjusted = sum(pair.distinguishable_adjusted is True for pair in pairs)
    return (
        "Each pair of SAEs is compared on the same sequences or examples. All pairs of the columns below are tested "
        f"together (Benjamini & Hochberg): of those told apart, 5 % at most are expected to be equal. That leaves "
        f"{adjusted:,} of {len(pairs):,} pairs; {raw:,} have a 95 % interval without 0. Both verdicts are in "
        "`eval_results/merged/comparisons.csv`. The best of a column is chosen by its value, which flatters it; SAEs "
        "that interpolate most of the text (†) take no part here."
    )


def _lines(
    rows: Sequence[Row], judged: Mapping[tuple[str, str, str], Mapping[str, bool | None]]
) -> Iterator[list[str]]:
    for column, example in headline_columns(rows).items():
        here = [
            r for r in rows if r.column == column and r.value is not None and interpolation(r.interpolates) != "most"
        ]
        best = best_value(here)
        if best is None or len(here) < 2:
            continue
        names = [row.sae for row in here if row.value == best]
        others = [row.sae for row in here if row.sae not in names]
        verdicts = judged.get((example.eval, column, names[0]), {})
        title = f"{column_title(example)}{ARROWS.get(example.direction, '')}"
        yield [example.eval, title, _listed(names), _equals(others, verdicts)]


def _equals(others: Sequence[str], verdicts: Mapping[str, bool | None]) -> str:
    """The SAEs that cannot be told from the best, or those that can, whichever list is shorter."""
    unknown = [sae for sae in others if verdicts.get(sae) is None]
    equal = [sae for sae in others if verdicts.get(sae) is False]
    worse = [sae for sae in others if verdicts.get(sae)]
    if len(unknown) == len(others):
        return "not known: no intervals" if others else "–"
    if not equal:
        text = "none"
    elif not worse and not unknown:
        text = f"all {len(equal)} others" if len(equal) > 1 else _listed(equal)
    elif len(worse) + len(unknown) < len(equal):
        text = f"all but {_listed([*worse, *unknown])}"
    else:
        text = _listed(equal)
    return f"{text}; not known: {_listed(unknown)}" if unknown else text


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
