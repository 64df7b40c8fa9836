"""One SAE for each architecture, where a picture cannot show all of them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from sae_research.plots.labels import label_rank, label_text
from sae_research.results.rows import Row, interpolation
from sae_research.results.sites import depth_of, sites_of
from sae_research.results.summary import by_sae


class Chosen(NamedTuple):
    """An SAE with its rows of a picture."""

    rows: Sequence[Row]
    site: str = ""
    """Where it reads, where SAEs of several sites are shown."""

    @property
    def label(self) -> str:
        return self.rows[0].label

    @property
    def published(self) -> bool:
        return self.rows[0].source == "published"

    @property
    def title(self) -> str:
        """What the legend calls it."""
        l0 = self.rows[0].l0
        return f"{label_text(self.label, self.rows[0].source)}, L0 {_short(l0)}{f', {self.site}' if self.site else ''}"


def _short(l0: float | None) -> str:
    return "unknown" if l0 is None else f"{l0:.3g}"


def reference_l0(rows: Sequence[Row]) -> float | None:
    """The median L0 of the SAEs; of those that interpolate most of the text only where there are no others."""
    first = [group[0] for group in by_sae(rows).values()]
    known = [row for row in first if row.l0]
    meant = [row for row in known if interpolation(row.interpolates) != "most"] or known
    return statistics.median(row.l0 for row in meant if row.l0) if meant else None


def choose_saes(rows: Sequence[Row]) -> list[Chosen]:
    """Of each source, label and site the SAE whose L0 is nearest the reference by factor.

    Labels come in the legends' order, sites by depth.
    """
    reference, several = reference_l0(rows), len(sites_of(rows)) > 1
    nearest: dict[tuple[str, str, str], Chosen] = {}
    for group in by_sae(rows).values():
        site = group[0].hook_name or "" if several else ""
        key = group[0].source, group[0].label, site
        if key not in nearest or _distance(group[0], reference) < _distance(nearest[key].rows[0], reference):
            nearest[key] = Chosen(group, site)
    return sorted(
        nearest.values(), key=lambda one: (one.published, label_rank(one.label), depth_of(one.site), one.site)
    )


def nearest_l0(rows: Sequence[Row], among: Sequence[Row]) -> Row:
    """Of `rows` the one whose L0 is nearest the reference of `among`, those that interpolate last."""
    reference = reference_l0(among)
    return min(rows, key=lambda row: _distance(row, reference))


def _distance(row: Row, reference: float | None) -> tuple[bool, float]:
    """What interpolates comes last, then what has no L0."""
    apart = abs(math.log(row.l0 / reference)) if row.l0 and reference else math.inf
    return interpolation(row.interpolates) == "most", apart


def choice_text(rows: Sequence[Row]) -> str:
    """Which SAEs are shown, as part of a caption; nothing where all are."""
    reference = reference_l0(rows)
    if len(by_sae(rows)) == len(choose_saes(rows)) or reference is None:
        return ""
    kind = "architecture and site" if len(sites_of(rows)) > 1 else "architecture"
    return f"; of each {kind} the SAE with L0 nearest {_short(reference)}"
