"""Who leads a column: the best SAE with all that cannot be told apart from it, over all SAEs and at matched L0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sae_research.evals.registry import all_evals
from sae_research.results.comparisons import Comparison, Comparisons
from sae_research.results.numbers import shown
from sae_research.results.panels import bands_of_sites, trained_saes, wide_supports
from sae_research.results.rows import Row, interpolation
from sae_research.results.summary import headline_columns


class Leaders(NamedTuple):
    """The best SAE of a column, with those that cannot be told apart from it."""

    saes: tuple[str, ...]
    """The best first. Never all that were compared."""
    behind: int
    """SAEs that are worse than the best."""
    nearest: Comparison
    """The best, and the best of those that are worse."""

    @property
    def lead(self) -> tuple[float, float, float]:
        """How far the nearest is behind the best, with the adjusted interval; positive."""
        pair = self.nearest
        low, high = pair.ci_low_adjusted or 0.0, pair.ci_high_adjusted or 0.0
        return (pair.difference, low, high) if pair.difference > 0 else (-pair.difference, -high, -low)


class Contenders(NamedTuple):
    """The SAEs that can lead."""

    everywhere: frozenset[str]
    """Trained SAEs that interpolate nothing, and do not choose from a wide support per sequence."""
    bands: Mapping[str, frozenset[str]]
    """At matched L0, by range: trained SAEs that interpolate nothing. Two or more in each."""


def contenders_of(rows: Sequence[Row]) -> Contenders:
    """The SAEs that can lead, over all and at matched L0."""
    trained = trained_saes(rows)
    known = {row.sae: row for row in rows if row.source == "computed"}
    honest = {name for name in trained if interpolation(known[name].interpolates) in ("no", "unknown")}
    l0 = {name: known[name].l0 or 0.0 for name in trained if known[name].l0}
    bands = {
        " to ".join(dict.fromkeys(shown(l0[sae], 3) for sae in (band[0], band[-1]))) + place: frozenset(
            honest.intersection(band)
        )
        for place, band in bands_of_sites(known, l0)
    }
    several = {name: saes for name, saes in bands.items() if len(saes) > 1}
    return Contenders(frozenset(honest - set(wide_supports(rows))), several)


def _range(low: float, high: float) -> str:
    return " to ".join(dict.fromkeys([shown(low, 3), shown(high, 3)]))


def leaders_of(rows: Sequence[Row], column: str, saes: frozenset[str], pairs: Comparisons) -> Leaders | None:
    """Who leads one column among `saes`; None where no SAE can be told apart from the best."""
    measured = [r for r in rows if r.column == column and r.source == "computed" and r.value is not None]
    competing = [row for row in measured if row.sae in saes]
    if not competing or competing[0].direction not in ("higher", "lower"):
        return None
    sign = 1 if competing[0].direction == "higher" else -1
    ordered = [row.sae for row in sorted(competing, key=lambda row: -sign * (row.value or 0.0))]
    best, others = ordered[0], ordered[1:]
    against = {sae: pairs.get((competing[0].eval, column, best, sae)) for sae in others}
    worse = [pair for pair in against.values() if pair is not None and pair.distinguishable_adjusted]
    if not worse:
        return None
    equal = [sae for sae, pair in against.items() if pair is None or not pair.distinguishable_adjusted]
    return Leaders((best, *equal), len(worse), worse[0])


def main_columns(rows: Sequence[Row]) -> dict[str, Row]:
    """The columns of the main table, each with one of its rows: what every eval declares."""
    declared = {evaluated.name: evaluated.main_columns for evaluated in all_evals()}
    columns = headline_columns([row for row in rows if row.source == "computed"])
    chosen: dict[str, Row] = {}
    for name in dict.fromkeys(row.eval for row in columns.values()):
        of_eval = {column: row for column, row in columns.items() if row.eval == name}
        metrics = {row.metric for row in of_eval.values()}
        wanted = {metric: at for metric, at in declared.get(name, {}).items() if metric in metrics}
        wanted = wanted or {next(iter(of_eval.values())).metric or "": {}}
        for metric, at in wanted.items():
            places = {column: row.place for column, row in of_eval.items() if row.metric == metric}
            distance = {
                column: sum(abs(place.get(k, v) - v) for k, v in at.items()) for column, place in places.items()
            }
            if distance:
                nearest = min(distance, key=lambda column: distance[column])
                chosen[nearest] = columns[nearest]
    return chosen
