"""The report's table over layers: what the language model loses with each SAE spliced in, site by site."""

from __future__ import annotations

from collections.abc import Sequence

from sae_research.results.markdown import code, table
from sae_research.results.numbers import shown
from sae_research.results.rows import Row
from sae_research.results.sites import at_site, sites_of
from sae_research.results.summary import by_sae

_COLUMNS = {
    "ce_loss_without_sae": "Cross entropy of the model",
    "ce_loss_with_sae": "with the SAE",
    "ce_loss_increase": "added",
    "next_token_accuracy_without_sae": "Next-token accuracy of the model",
    "next_token_accuracy_with_sae": "with the SAE",
}


def layers_section(rows: Sequence[Row]) -> str:
    """A line per SAE, by site and L0; nothing where all SAEs are of one site."""
    core = [row for row in rows if (row.eval, row.source, row.at) == ("core", "computed", "{}")]
    sites = sites_of(core)
    if len(sites) < 2:
        return ""
    lines = []
    for site in sites:
        groups = by_sae(at_site(core, site)).values()
        for group in sorted(groups, key=lambda g: (g[0].control, g[0].label, g[0].l0 or 0.0, g[0].sae)):
            first, values = group[0], {row.metric: row.value for row in group}
            numbers = [first.d_sae, first.l0, *(values.get(metric) for metric in _COLUMNS)]
            about = [code(site), code(first.sae), first.label]
            lines.append(about + ["–" if number is None else shown(number) for number in numbers])
    header = ["site", "SAE", "architecture", "d_sae", "L0", *_COLUMNS.values()]
    return f"## By layer\n\nEach SAE spliced in where it was trained.\n\n{table(header, lines, numbers_from=3)}"
