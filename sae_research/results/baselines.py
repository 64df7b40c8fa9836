"""Baselines in the report: what an eval measured without an SAE, beside the SAEs of its tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from sae_research.results.comparisons import Comparisons
from sae_research.results.numbers import shown
from sae_research.results.references import baseline_name, baselines, is_least, references
from sae_research.results.rows import Row
from sae_research.results.sites import at_site, sites_of


class BaselineRow(NamedTuple):
    """A baseline's number in one column."""

    name: str
    """As in comparisons.csv."""
    title: str
    row: Row
    is_least: bool
    """Whether an SAE that learned anything is above it."""


def baseline_rows(rows: Sequence[Row], example: Row) -> list[BaselineRow]:
    """The baselines of the column of `example`, in the order of legends, each once for every site."""
    metrics = references().get(example.metric or "", ())
    computed = [row for row in rows if row.source == "computed" == example.source]
    several = len({row.hook_name for row in computed}) > 1
    chosen: dict[str, BaselineRow] = {}
    for row in computed:
        if row.metric not in metrics or row.value is None:
            continue
        place = row.place
        baseline = str(place.pop("baseline", ""))
        if baseline in baselines() and place == example.place:
            name = baseline_name(baseline, row.hook_name, of_many_sites=several)
            chosen.setdefault(
                name, BaselineRow(name, baselines()[baseline].title, row, is_least(baseline, example.metric))
            )
    order = [*baselines()]
    return sorted(chosen.values(), key=lambda line: order.index(str(line.row.place["baseline"])))


def baseline_lines(rows: Sequence[Row], columns: Mapping[str, Row]) -> list[BaselineRow]:
    """Each baseline of any of the columns once."""
    everything = [line for example in columns.values() for line in baseline_rows(rows, example)]
    return list({line.name: line for line in reversed(everything)}.values())[::-1]


def out_of_reach(rows: Sequence[Row], example: Row, pairs: Comparisons) -> str | None:
    """That no trained SAE is significantly above the best baseline that one has to be above; None where one is.

    An SAE is held against the baselines of its own site.
    """
    sites = sites_of(rows)
    findings = [_out_of_reach_at(at_site(rows, site), baseline_rows(rows, example), example, pairs) for site in sites]
    if not findings or None in findings:
        return None
    return findings[0] if len(sites) == 1 else "no SAE is significantly above the best baseline of its site"


def _out_of_reach_at(rows: Sequence[Row], lines: Sequence[BaselineRow], example: Row, pairs: Comparisons) -> str | None:
    """The same of the SAEs of one site, whose rows these are."""
    site = rows[0].hook_name
    least = [line for line in lines if line.is_least and line.row.hook_name == site]
    sign = -1 if example.direction == "lower" else 1
    saes = {row.sae: sign * (row.value or 0.0) for row in rows if _is_trained(row, example) and row.value is not None}
    if not least or not saes:
        return None
    best = max(least, key=lambda line: sign * (line.row.value or 0.0))
    better = list(_better(saes, best.name, example, pairs))
    if any(name != best.name for name in better):
        return None
    level = f"*{best.title}* ({shown(best.row.value or 0.0)})"
    if max(saes.values()) >= sign * (best.row.value or 0.0):
        return f"no SAE is significantly above {level}"
    return f"no SAE reaches {level}, and {len(better)} of {len(saes)} are significantly below it"


def _is_trained(row: Row, example: Row) -> bool:
    return row.source == "computed" and not row.control and (row.eval, row.column) == (example.eval, example.column)


def _better(saes: Mapping[str, float], baseline: str, example: Row, pairs: Comparisons) -> Iterator[str]:
    """Who is better, of every SAE that is told apart from the baseline."""
    for sae in saes:
        pair = pairs.get((example.eval, example.column or "", sae, baseline))
        if pair is not None and pair.distinguishable_adjusted and pair.better is not None:
            yield pair.better
