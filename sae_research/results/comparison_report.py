"""The report's section on comparisons: who leads each headline column, over all and at matched L0."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sae_research.results.comparisons import MOST_IN_TABLE, Comparisons
from sae_research.results.leaders import Contenders, leaders_of
from sae_research.results.markdown import ARROWS, code, column_title, table
from sae_research.results.rows import Row
from sae_research.results.summary import headline_columns


def comparison_section(rows: Sequence[Row], contenders: Contenders, pairs: Comparisons) -> str:
    """A table with a line per headline column that is compared; empty without comparisons."""
    if not pairs:
        return ""
    lines = list(_lines(rows, contenders, pairs))
    header = ["eval", "metric", "best over all", *(f"at L0 {band}" for band in contenders.bands)]
    listed = [table(header, lines, numbers_from=len(header))] if lines else []
    return "\n\n".join(["## Comparisons", _introduction(pairs), *listed])


def _introduction(pairs: Comparisons) -> str:
    told = pairs.told_apart()
    capped = pairs.most_saes > MOST_IN_TABLE
    listed = (
        f"the pairs of each column's best SAE, because there are more than {MOST_IN_TABLE} SAEs" if capped else "all"
    )
    return (
        "Each pair of SAEs is compared on the same sequences or examples. All pairs of the headline columns are tested "
        "together (Benjamini & Hochberg): of those told apart, 5 % at most are expected to be equal. That leaves "
        f"{told.adjusted:,} of {told.pairs:,} pairs; {told.by_interval:,} have a 95 % interval without 0. "
        f"`eval_results/merged/comparisons.csv` has both verdicts on {listed}; `python -m sae_research compare A B` "
        "and the explorer compute any pair. Each cell names the best SAE, then those that cannot be told apart "
        "from it; “–”: no SAE can be told apart from the best. The best is chosen by its value, which flatters it. "
        "Controls and SAEs that interpolate take no part, and those marked § only at matched L0. Pairs with a "
        "baseline, or of two, are in the file too, and are tested by themselves."
    )


def _lines(rows: Sequence[Row], contenders: Contenders, pairs: Comparisons) -> Iterator[list[str]]:
    computed = [row for row in rows if row.headline and row.source == "computed"]
    for column, example in headline_columns(computed).items():
        title = f"{column_title(example)}{ARROWS.get(example.direction, '')}"
        cells = []
        for saes in (contenders.everywhere, *contenders.bands.values()):
            leaders = leaders_of(computed, column, saes, pairs)
            cells.append(", ".join(code(sae) for sae in leaders.saes) if leaders else "–")
        if any(pairs.get((example.eval, column, *pair)) for pair in _some_pair(contenders)):
            yield [example.eval, title, *cells]


def _some_pair(contenders: Contenders) -> Iterator[tuple[str, str]]:
    saes = sorted(contenders.everywhere.union(*contenders.bands.values()))
    yield from ((a, b) for a in saes for b in saes if a < b)
