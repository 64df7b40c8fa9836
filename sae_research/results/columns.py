"""The columns of the table of results: one metric at one place, over the SAEs that were computed here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sae_research.measurements import Measurement, MetricSpec
from sae_research.results.merge import Entry
from sae_research.results.references import baseline_name, baselines, compared_with, is_least
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
    """Each seed's number, by SAE or baseline."""
    seed_replicates: dict[str, dict[int | float | str, tuple[float, ...]]] = field(default_factory=dict)
    """The replicates of each seed's number, by SAE or baseline."""
    baselines: dict[str, Measurement] = field(default_factory=dict)
    """By name, what the eval measured without an SAE, as it does with one."""
    least: set[str] = field(default_factory=set)
    """Of the baselines those that an SAE must be above."""

    @property
    def everyone(self) -> dict[str, Measurement]:
        """SAEs, then baselines."""
        return {**self.measured, **self.baselines}

    def seeds_of(self, saes: Sequence[str]) -> list[int | float | str]:
        """The seeds that all of `saes`, or baselines, have a number of, in a fixed order."""
        known = [set(self.seeds.get(sae, ())) for sae in saes]
        return sorted(set.intersection(*known), key=str) if known else []


def columns_by_name(entries: Sequence[Entry]) -> Mapping[tuple[str, str], Column]:
    """Every column by eval and name, in the order of the table; the language model's own numbers are left out."""
    computed = [entry for entry in entries if entry.source == "computed" and entry.result is not None]
    several = len({_site(entry) for entry in computed}) > 1
    columns: dict[tuple[str, str], Column] = {}
    for entry in computed:
        for metric, m in _compared(entry):
            baseline = m.at.get("baseline")
            place = {key: value for key, value in m.at.items() if key not in ("seed", "baseline")}
            name = column_name(metric, place)
            if name is None:
                continue
            column = columns.setdefault(
                (entry.eval_name, name), Column(entry.eval_name, name, metric, place_text(place))
            )
            if m.value is None:
                continue
            who = entry.sae_name
            if baseline is not None:
                who = baseline_name(str(baseline), _site(entry), of_many_sites=several)
            if "seed" in m.at:
                column.seeds.setdefault(who, {})[m.at["seed"]] = m.value
                column.seed_replicates.setdefault(who, {})[m.at["seed"]] = m.replicates
            elif baseline is None:
                column.measured[who] = m
            else:
                column.baselines[who] = m
                column.least |= {who} if is_least(str(baseline), metric.name) else set()
    return columns


def _site(entry: Entry) -> str | None:
    return entry.result.sae.get("hook_name") if entry.result is not None else None


def _compared(entry: Entry) -> Iterator[tuple[MetricSpec, Measurement]]:
    """The SAE's numbers, and the baselines' as numbers of the metrics that they are for."""
    assert entry.result is not None
    specs = {spec.name: spec for spec in entry.specs}
    for m in entry.result.output.measurements:
        metrics = compared_with().get(m.metric)
        if metrics is None and m.metric in specs:
            yield specs[m.metric], m
        elif metrics is not None and m.at.get("baseline") in baselines():
            yield from ((specs[metric], m) for metric in metrics if metric in specs)
