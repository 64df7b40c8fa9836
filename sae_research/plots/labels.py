"""What is written beside axes and in legends."""

from __future__ import annotations

import textwrap

from sae_research.plots.settings import DEFAULT_COLORS
from sae_research.plots.style import NAMES
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
    return f"{NAMES.get(label, label)}, published" if source == "published" else NAMES.get(label, label)


def label_rank(label: str) -> tuple[int, str]:
    """Where a label stands among others: in the order of the default colours, unknown ones last."""
    order = [*DEFAULT_COLORS]
    return order.index(label) if label in order else len(order), label
