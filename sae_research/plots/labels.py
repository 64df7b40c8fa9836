"""What is written beside axes and in legends."""

from __future__ import annotations

import math
import textwrap

from sae_research.plots.style import about_label
from sae_research.results.rows import Row

L0_LABEL = "L0, latents in use per token (left is sparser)"
BETTER = {"higher": "(higher is better)", "lower": "(lower is better)"}


def axis_label(row: Row) -> str:
    """The metric in words, its unit, and which way is better, in lines short enough for an axis."""
    unit = f" [{row.unit}]" if row.unit else ""
    better = BETTER.get(row.direction or "", "")
    better = "" if better in (row.title or "") else better
    title = f"{row.title}{unit}"
    between = " " if len(title) + len(better) < 46 else "\n"
    return f"{textwrap.fill(title, 46)}{between if better else ''}{better}"


def label_text(label: str, source: str) -> str:
    """How a label is written in a legend."""
    title = about_label(label).title or label
    return f"{title}, published" if source == "published" else title


def label_rank(label: str) -> tuple[float, str]:
    """Where a label stands among others: by its declared place; those without one come last, by name."""
    place = about_label(label).place
    return math.inf if place is None else place, label
