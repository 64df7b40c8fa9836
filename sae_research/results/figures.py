"""The pictures of a table. Their names follow from the table alone, so the report can link to them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from sae_research.evals.base import PartsFigure, PartsFigureKind
from sae_research.evals.registry import all_evals
from sae_research.results.rows import Row
from sae_research.results.sites import depth_of, sites_of

LOSS = "ce_loss_increase"
"""What the model loses: the one metric of loss that is not crowded at its best value."""
FigureKind = Literal["metric", "loss", "layers"] | PartsFigureKind


@dataclass(frozen=True)
class Figure:
    """One picture."""

    name: str
    """The file's name without its ending."""
    kind: FigureKind
    """`metric`: L0 against the metric. `loss`: L0 against the cross-entropy that the SAE adds, coloured by the metric.
    `layers`: the metric over layers. The others are those of `PartsFigure`."""
    eval: str
    metric: str
    caption: str
    parts: PartsFigure | None = None
    """What the eval declared, for a figure of a metric's parts."""


def planned_figures(rows: Sequence[Row]) -> list[Figure]:
    """Two pictures for every headline metric, the loss itself only one, and those of metrics' parts by kind.

    With SAEs at several depths the second one is over layers.
    """
    several = len({depth_of(name) for name in sites_of(rows)}) > 1
    metrics: dict[tuple[str, str], str] = {}
    for row in rows:
        if row.headline and row.metric is not None and row.column is not None:
            metrics.setdefault((row.eval, row.metric), row.title or row.metric)
    figures = [
        Figure(f"{eval_name}_{metric}", "metric", eval_name, metric, f"{title} against L0")
        for (eval_name, metric), title in metrics.items()
    ]
    if any(row.metric == LOSS for row in rows) and not several:
        for (eval_name, metric), title in metrics.items():
            if metric == LOSS:
                continue
            # A small first letter within the sentence, unless the title starts with an abbreviation.
            words = title if title[:2].isupper() else title[:1].lower() + title[1:]
            caption = f"Cross entropy added against L0, coloured by {words}"
            name = f"loss_by_{eval_name}_{metric}"
            figures.append(Figure(name, "loss", eval_name, metric, caption))
    declared = [(evaluated.name, parts) for evaluated in all_evals() for parts in evaluated.figures]
    for eval_name, parts in sorted(declared, key=lambda pair: get_args(PartsFigureKind).index(pair[1].kind)):
        if any(is_part(row, eval_name, parts.metric, parts.places) for row in rows):
            name = f"{eval_name}_{parts.metric}_{parts.suffix}"
            figures.append(Figure(name, parts.kind, eval_name, parts.metric, parts.caption, parts))
    return [*figures, *(_over_layers(figures) if several else ())]


def _over_layers(figures: Sequence[Figure]) -> Iterator[Figure]:
    """A further picture of each metric, and of its parts that have panels."""
    for figure in figures:
        if figure.kind in ("metric", "panels"):
            caption = f"{figure.caption.removesuffix(' against L0')} over layers"
            yield replace(figure, name=f"layers_{figure.name}", kind="layers", caption=caption)


def belongs(row: Row, figure: Figure) -> bool:
    """Whether `row` is a number that the panels of `figure` show."""
    if figure.parts is not None:
        return is_part(row, figure.eval, figure.metric, figure.parts.places)
    return (row.eval, row.metric) == (figure.eval, figure.metric) and row.column is not None


def is_part(row: Row, eval_name: str, metric: str, places: Collection[str]) -> bool:
    """Whether `row` is a number of the metric at a place with exactly these keys."""
    return (row.eval, row.metric) == (eval_name, metric) and row.value is not None and row.place.keys() == set(places)
