"""The columns of the table of results: one metric at one place, over the SAEs that were computed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from sae_research.measurements import Measurement, MetricSpec
from sae_research.results.merge import Entry
from sae_research.results.references import references
from sae_research.results.rows import column_name, place_text


@dataclass
class Column:
    """One metric at one place, over SAEs."""

    eval: str
    name: str
    """As in the table of results."""
    spec: MetricSpec
    at: str
    """Where the metric was taken, as in the table of results."""
    measured: dict[str, Measurement] = field(default_factory=dict)
    """By SAE; those without a value are absent."""
    seeds: dict[str, dict[int | float | str, float]] = field(default_factory=dict)
    """Each seed's number, by SAE."""
    seed_replicates: dict[str, dict[int | float | str, tuple[float, ...]]] = field(default_factory=dict)
    """The replicates of each seed's number, by SAE."""

    def seeds_of(self, saes: Sequence[str]) -> list[int | float | str]:
        """The seeds that all of `saes` have a number of, in a fixed order."""
        known = [set(self.seeds.get(sae, ())) for sae in saes]
        return sorted(set.intersection(*known), key=str) if known else []


def columns_by_name(entries: Sequence[Entry]) -> Mapping[tuple[str, str], Column]:
    """Every column by eval and name, in the order of the table; the language model's own numbers are left out."""
    levels_without_sae = set(chain(*references().values()))
    columns: dict[tuple[str, str], Column] = {}
    for entry in entries:
        if entry.source != "computed" or entry.result is None:
            continue
        specs = {spec.name: spec for spec in entry.specs if spec.name not in levels_without_sae}
        for m in entry.result.output.measurements:
            place = {key: value for key, value in m.at.items() if key != "seed"}
            spec = specs.get(m.metric)
            name = column_name(spec, place) if spec else None
            if spec is None or name is None:
                continue
            at = place_text(place)
            column = columns.setdefault((entry.eval_name, name), Column(entry.eval_name, name, spec, at))
            if m.value is None:
                continue
            if "seed" in m.at:
                column.seeds.setdefault(entry.sae_name, {})[m.at["seed"]] = m.value
                column.seed_replicates.setdefault(entry.sae_name, {})[m.at["seed"]] = m.replicates
            else:
                column.measured[entry.sae_name] = m
    return columns
