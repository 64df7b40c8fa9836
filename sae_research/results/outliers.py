"""Sites where a few tokens hold much of the variance: there, numbers made of squares are those of these tokens."""

from __future__ import annotations

from collections.abc import Sequence

from sae_research.results.markdown import code, listed, plain
from sae_research.results.rows import Row
from sae_research.results.sites import at_site, sites_of

OF_SQUARES = ("explained_variance", "mse")
"""Core's metrics that are then to be read with care."""
_WITHOUT = "explained_variance_without_outliers"
_MUCH = 0.1
"""Of the variance."""


def outlier_warnings(rows: Sequence[Row]) -> list[str]:
    """A sentence for each site where outliers hold a tenth of the variance or more."""
    computed = [row for row in rows if row.source == "computed" and row.value is not None]
    titles = {row.metric: f"*{plain(row.title or str(row.metric))}*" for row in computed}
    sentences = []
    for site in sites_of(computed):
        here = at_site(computed, site)
        variance, tokens = (
            max((row.value or 0.0 for row in here if row.metric == f"outlier_share_of_{what}"), default=0.0)
            for what in ("variance", "tokens")
        )
        if variance >= _MUCH:
            without = [row.value or 0.0 for row in here if row.metric == _WITHOUT and not row.control]
            spread = f" ({min(without):.2f} to {max(without):.2f})" if without else ""
            sentences.append(
                f"At {code(site)} {100 * tokens:.2g} % of the tokens have more than 10 times the median norm and "
                f"hold {100 * variance:.0f} % of the variance, so that "
                f"{listed([titles[name] for name in OF_SQUARES if name in titles])} tell mostly of them; "
                f"`results.csv` has {titles[_WITHOUT]}{spread}."
            )
    return sentences
