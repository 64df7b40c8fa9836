"""What is written beside the axes."""

from __future__ import annotations

import textwrap

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
