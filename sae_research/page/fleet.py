"""The SAEs of all runs, in one order, each with a name of its own: what rows of the page's arrays stand for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sae_research.digests import digest_of
from sae_research.page.run import Run
from sae_research.results.leaders import contenders_of
from sae_research.results.panels import wide_supports
from sae_research.results.rows import Row, interpolation
from sae_research.results.summary import by_sae

Identity = tuple[str, str]
"""Source and name, within a run."""


@dataclass(frozen=True)
class FleetMember:
    """An SAE of the page."""

    title: str
    """Its name; with that of its run or its source where several SAEs have the same."""
    run: Run
    rows: Sequence[Row]

    @property
    def first(self) -> Row:
        """A row, for what all of them say of the SAE."""
        return self.rows[0]

    @cached_property
    def entry(self) -> Mapping[str, Any]:
        """What `results.json` has of it."""
        return self.run.of_sae.get(self.first.identity, {})


def fleet_of(runs: Sequence[Run]) -> list[FleetMember]:
    """All SAEs: by run, in the order of its rows."""
    groups = [(run, group) for run in runs for group in by_sae(run.rows).values()]
    shared = {name for name, count in Counter(group[0].sae for _, group in groups).items() if count > 1}
    members, used = [], Counter[str]()
    for run, group in groups:
        first = group[0]
        title = first.sae if first.sae not in shared else f"{first.sae} ({_told_apart(runs, run, first)})"
        used[title] += 1
        members.append(FleetMember(title if used[title] == 1 else f"{title} {used[title]}", run, group))
    return members


def _told_apart(runs: Sequence[Run], run: Run, first: Row) -> str:
    return ", ".join(part for part in (run.name if len(runs) > 1 else "", first.source) if part)


def members_of_runs(fleet: Sequence[FleetMember]) -> Mapping[tuple[str, str], int]:
    """The place of each SAE that was computed, by its run's name and its own."""
    return {(m.run.name, m.first.sae): i for i, m in enumerate(fleet) if m.first.source == "computed"}


def about_members(runs: Sequence[Run], fleet: Sequence[FleetMember]) -> list[dict[str, Any]]:
    """What the page's tables and filters know of each SAE."""
    contenders = {run.name: contenders_of(run.rows).everywhere for run in runs}
    wide = {run.name: wide_supports(run.rows) for run in runs}
    return [_about(m, contenders[m.run.name], wide[m.run.name]) for m in fleet]


def _about(member: FleetMember, contenders: frozenset[str], wide: Mapping[str, float]) -> dict[str, Any]:
    row = member.first
    share = max((r.interpolates for r in member.rows if r.interpolates is not None), default=None)
    card = member.entry.get("card") or {}
    computed = row.source == "computed"
    about = {
        "name": member.title,
        "run": member.run.name,
        "source": row.source,
        "label": row.label,
        "architecture": row.architecture,
        "model": card.get("model_name"),
        "site": row.hook_name,
        "d_in": row.d_in,
        "d_sae": row.d_sae,
        "l0": row.l0,
        "interpolates": interpolation(share),
        "share": share,
        "wide": wide.get(row.sae) if computed else None,
        "control": row.control,
        "contends": computed and row.sae in contenders,
        "failed": {r.eval: r.reason for r in member.rows if r.metric is None},
        "units": dict(units_of(member)),
    }
    return {key: value for key, value in about.items() if value not in (None, False, {})}


def units_of(member: FleetMember) -> Iterator[tuple[str, str]]:
    """By eval what its test units follow from: only SAEs that are alike in this can be paired."""
    for name, cell in (member.entry.get("evals") or {}).items():
        parts = {key: (cell.get("provenance") or {}).get(key) for key in ("engine", "model", "data", "seed")}
        if cell.get("state") == "done":
            yield name, digest_of([parts, cell.get("settings")])[:8]
