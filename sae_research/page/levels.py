"""What was measured without an SAE, each at one site: the model's own probes, neurons, random rotations.

The page draws their numbers as lines, and compares them with SAEs as it compares SAEs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sae_research.page.fleet import FleetMember, members_of_runs, units_of
from sae_research.page.run import Run
from sae_research.plots.points import reference_rows
from sae_research.results.references import baseline_name, references
from sae_research.results.rows import Row
from sae_research.results.sites import at_site, sites_of


@dataclass(frozen=True)
class Level:
    """Something without an SAE, with its numbers at a site."""

    name: str
    """A baseline's as in its run's `comparisons.csv`; otherwise `model:` and the metric."""
    title: str
    site: str | None
    run: str
    """The name of the run that its numbers are from."""
    rows: dict[int, Row] = field(default_factory=dict)
    """By the column's place in the page; rows of an SAE, because every SAE of a site comes with them."""

    @property
    def first(self) -> Row:
        """A row, for what all of them say."""
        return next(iter(self.rows.values()))


def levels_of(runs: Sequence[Run], columns: Sequence[Row]) -> list[Level]:
    """Those of the columns of which these are rows; where several runs have one, the first run's."""
    levels: dict[tuple[str, str | None], Level] = {}
    compared = [(place, row) for place, row in enumerate(columns) if row.metric in references()]
    needless = {metric for others in references().values() for metric in others}
    for run in runs:
        rows = [row for row in run.rows if row.metric in needless]
        for site in dict.fromkeys(row.hook_name for row in rows):
            for level in _at_site(at_site(rows, site), compared, run, of_many_sites=len(sites_of(run.rows)) > 1):
                levels.setdefault((level.name, level.site), level)
    return list(levels.values())


def _at_site(rows: Sequence[Row], columns: Sequence[tuple[int, Row]], run: Run, *, of_many_sites: bool) -> list[Level]:
    levels: dict[str, Level] = {}
    site = rows[0].hook_name
    for place, example in columns:
        for title, of_title in reference_rows(rows, example).items():
            row = of_title[0]
            baseline = row.place.get("baseline")
            name = f"model:{row.metric}" + (f" at {site}" if of_many_sites else "")
            if baseline is not None:
                name = baseline_name(str(baseline), site, of_many_sites=of_many_sites)
            levels.setdefault(name, Level(name, title, site, run.name)).rows[place] = row
    return list(levels.values())


def about_levels(levels: Sequence[Level], fleet: Sequence[FleetMember]) -> Iterator[dict[str, Any]]:
    """What the page is told of each. They are paired with SAEs of the same test units as those that they came with."""
    places = members_of_runs(fleet)
    known = Counter(level.name for level in levels)
    for level in levels:
        came_with = {row.eval: places.get((level.run, row.sae)) for row in level.rows.values()}
        units = {name: dict(units_of(fleet[place])).get(name) for name, place in came_with.items() if place is not None}
        yield {
            "name": level.name if known[level.name] == 1 else f"{level.name} at {level.site}",
            "title": level.title,
            "site": level.site,
            "is_baseline": "baseline" in level.first.place,
            "units": {name: of_eval for name, of_eval in units.items() if of_eval is not None},
            "numbers": [[place, row.value, row.ci_low, row.ci_high] for place, row in level.rows.items()],
        }


def places_of_all(fleet: Sequence[FleetMember], levels: Sequence[Level]) -> Mapping[tuple[str, str], int]:
    """By a run's name and that of an SAE or baseline, its place among all SAEs, then all levels."""
    after = {(level.run, level.name): len(fleet) + place for place, level in enumerate(levels)}
    return {**after, **members_of_runs(fleet)}
