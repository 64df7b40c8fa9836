"""The report's section on comparisons: who leads each headline column, over all and at matched L0."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sae_research.results.comparisons import Comparison
from sae_research.results.leaders import Contenders, Pairs, leaders_of
from sae_research.results.markdown import ARROWS, code, column_title, table
from sae_research.results.rows import Row
from sae_research.results.summary import headline_columns


def comparison_section(
    rows: Sequence[Row], comparisons: Sequence[Comparison], contenders: Contenders, pairs: Pairs
) -> str:
    """A table with a line per headline column that is compared; empty without comparisons."""
    if not comparisons:
        return ""
    lines = list(_lines(rows, contenders, pairs))
    header = ["eval", "metric", "best over all", *(f"at L0 {band}" for band in contenders.bands)]
    listed = [table(header, lines, numbers_from=len(header))] if lines else []
    return "\n\n".join(["## Comparisons", _introduction(comparisons), *listed])


def _introduction(comparisons: Sequence[Comparison]) -> str:
    of_saes = [pair for pair in comparisons if pair.headline and not pair.with_baseline]
    pairs = [pair for pair in of_saes if pair.distinguishable is not None]
    raw = sum(pair.distinguishable is True for pair in pairs)
    adjusted = sum(pair.distinguishable_adjusted is True for pair in pairs)
    return (
        "Each pair of SAEs is compared on the same sequences or examples. All pairs of the headline columns are tested "
        "together (Benjamini & Hochberg): of those told apart, 5 % at most are expected to be equal. That leaves "
        f"{adjusted:,} of {len(pairs):,} pairs; {raw:,} have a 95 % interval without 0. Both verdicts are in "
        "`eval_results/merged/comparisons.csv`. Each cell names the best SAE, then those that cannot be told apart "
        "from it; “–”: no SAE can be told apart from the best. The best is chosen by its value, which flatters it. "
        "Controls and SAEs that interpolate take no part, and those marked § only at matched L0. Pairs with a "
        "baseline, or of two, are in the file too, and are tested by themselves."
    )


def _lines(rows: Sequence[Row], contenders: Contenders, pairs: Pairs) -> Iterator[list[str]]:
    computed = [row for row in rows if row.headline and row.source == "computed"]
    for column, example in headline_columns(computed).items():
        title = f"{column_title(example)}{ARROWS.get(example.direction, '')}"
        cells = []
        for saes in (contenders.everywhere, *contenders.bands.values()):
            leaders = leaders_of(computed, column, saes, pairs)
            cells.append(", ".join(code(sae) for sae in leaders.saes) if leaders else "–")
        if any((example.eval, column, *pair) in pairs for pair in _some_pair(contenders)):
            yield [example.eval, title, *cells]


def _some_pair(contenders: Contenders) -> Iterator[tuple[str, str]]:
    saes = sorted(contenders.everywhere.union(*contenders.bands.values()))
    yield from ((a, b) for a in saes for b in saes if a < b)
