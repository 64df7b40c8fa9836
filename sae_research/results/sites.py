"""The sites of a table's SAEs: which there are, in the order in which the language model reaches them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from sae_research.errors import UserError
from sae_research.lm.site import Site
from sae_research.results.rows import Row


def site_of(hook_name: str | None) -> Site | None:
    """The site that a hook name stands for; None for the hook names of others that are no site of ours."""
    try:
        return None if hook_name is None else Site.parse(hook_name)
    except UserError:
        return None


def depth_of(hook_name: str | None) -> float:
    """How many blocks a run has behind it there; infinite where that is not known."""
    site = site_of(hook_name)
    return math.inf if site is None else site.depth


def sites_of(rows: Iterable[Row]) -> list[str]:
    """The hook names of the SAEs that were computed, by depth."""
    names = {row.hook_name for row in rows if row.source == "computed" and row.hook_name is not None}
    return sorted(names, key=lambda name: (depth_of(name), name))


def at_site(rows: Sequence[Row], hook_name: str | None) -> list[Row]:
    """The rows of the SAEs at one site."""
    return [row for row in rows if row.hook_name == hook_name]
