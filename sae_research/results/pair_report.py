"""Two SAEs on every metric, for a terminal: paired differences, and which of them hold once all are looked at."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from sae_research.errors import UserError
from sae_research.results.columns import Column
from sae_research.results.comparisons import Comparison, compare_columns
from sae_research.results.markdown import ARROWS
from sae_research.results.numbers import shown


def pair_report(columns: Sequence[Column], a: str, b: str, *, metrics: Sequence[str], headline_only: bool) -> str:
    """A line for each column that both have a number in; UserError where a name is not there."""
    pairs = compare_pair(columns, a, b, metrics=metrics, headline_only=headline_only)
    adjusted = holm(np.array([pair.p if pair.p is not None else np.nan for pair in pairs]))
    lines = [("metric", f"{a} − {b}", "95 % interval", "verdict", "after Holm")]
    for pair, p in zip(pairs, adjusted, strict=True):
        interval = (
            "–" if pair.ci_low is None or pair.ci_high is None else f"[{shown(pair.ci_low)}, {shown(pair.ci_high)}]"
        )
        holds = "–" if np.isnan(p) else _verdict(pair, apart=bool(p <= 0.05))
        title = f"{pair.eval} {pair.column}{ARROWS.get(pair.direction, '')}"
        verdict = "no interval" if pair.distinguishable is None else _verdict(pair, apart=pair.distinguishable)
        lines.append((title, shown(pair.difference), interval, verdict, holds))
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
    unpaired = sum(pair.method == "unpaired" for pair in pairs)
    count = f"{len(pairs)} comparison{'' if len(pairs) == 1 else 's'}"
    notes = [f"{count}. The last column keeps what holds at 5 % over all of them together (Holm)."]
    notes += [f"{unpaired} of the intervals are not paired, and wider than necessary."] if unpaired else []
    return f"{text}\n\n{' '.join(notes)}\n"


def compare_pair(
    columns: Sequence[Column], a: str, b: str, *, metrics: Sequence[str], headline_only: bool
) -> list[Comparison]:
    """The differences of two SAEs or baselines in the columns that are asked for."""
    names = list(dict.fromkeys(name for column in columns for name in column.everyone))
    for name in (a, b):
        if name not in names:
            raise UserError(f"no SAE or baseline is called {name!r}; there are: {', '.join(names)}")
    if a == b:
        raise UserError(f"{a!r} is given twice; name two different SAEs")
    known = {word for column in columns for word in (column.name, column.spec.name)}
    unknown = [metric for metric in metrics if metric not in known]
    if unknown:
        raise UserError(f"--metric: {', '.join(unknown)} is not compared; valid: {', '.join(sorted(known))}")
    wanted = [
        column
        for column in columns
        if ({column.name, column.spec.name} & set(metrics) if metrics else column.spec.headline or not headline_only)
    ]
    both = [_of_two(column, a, b) for column in wanted if {a, b} <= column.everyone.keys()]
    if not both:
        raise UserError(f"{a!r} and {b!r} have no number in common in what was asked for")
    return [*compare_columns(both)]


def _of_two(column: Column, a: str, b: str) -> Column:
    """The column with these two alone, the first one first."""
    return dataclasses.replace(
        column,
        measured={name: column.everyone[name] for name in (a, b)},
        baselines={},
        seeds={name: column.seeds.get(name, {}) for name in (a, b)},
        seed_replicates={name: column.seed_replicates.get(name, {}) for name in (a, b)},
    )


def holm(p: np.ndarray) -> np.ndarray:
    """p values adjusted so that calling those below q different is wrong anywhere with a probability of q at most.

    The i-th smallest of m times m + 1 − i, never below one before it; NaN stay NaN and do not count. Holm (1979).
    """
    adjusted, known = np.full_like(p, np.nan), np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return adjusted


def _verdict(pair: Comparison, *, apart: bool) -> str:
    if not apart:
        return "not told apart"
    return f"{pair.sae_a if (pair.difference > 0) == (pair.direction == 'higher') else pair.sae_b} is better"
