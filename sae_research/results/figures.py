"""Which pictures a table asks for: their names follow from the table alone, so that the report can link to them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from sae_research.results.rows import Row

LOSS_RECOVERED = "ce_loss_score"
FigureKind = Literal["metric", "loss_recovered", "curve", "letters", "attributes", "tradeoff"]
ATTRIBUTE = frozenset({"entity", "attribute"})
"""What tells one attribute of RAVEL from another."""
FORGET, SIDE_EFFECT = "forget_accuracy", "side_effect_accuracy"


class _Parts(NamedTuple):
    """A picture of a metric's parts."""

    kind: FigureKind
    eval: str
    metric: str
    places: frozenset[str]
    """What tells one part from another."""
    suffix: str
    caption: str


def _parts() -> Iterator[_Parts]:
    by_n, by_letter = frozenset({"n"}), frozenset({"letter"})
    yield _Parts("curve", "scr", "scr_metric", by_n, "by_n", "SCR against the number of latents ablated")
    yield _Parts("curve", "tpp", "tpp_total_metric", by_n, "by_n", "TPP against the number of latents ablated")
    for metric, title in (
        ("absorption_fraction_score", "Absorption fraction"),
        ("full_absorption_score", "Full absorption"),
        ("num_split_features", "Split latents"),
    ):
        caption = f"{title} by letter (lower is better)"
        yield _Parts("letters", "absorption", metric, by_letter, "by_letter", caption)
    for metric, title in (
        ("disentanglement_score", "Disentanglement"),
        ("cause_score", "Cause"),
        ("isolation_score", "Isolation"),
    ):
        yield _Parts("attributes", "ravel", metric, ATTRIBUTE, "by_attribute", f"{title} (RAVEL) by attribute")
    grid, caption = frozenset({"retain_threshold", "n", "multiplier"}), "What is kept against what is forgotten"
    yield _Parts("tradeoff", "unlearning", FORGET, grid, "tradeoff", caption)


@dataclass(frozen=True)
class Figure:
    """One picture."""

    name: str
    """The file's name without its ending."""
    kind: FigureKind
    """`metric`: L0 against the metric. `loss_recovered`: L0 against loss recovered, coloured by the metric. `curve`:
    the metric over n. `letters`: the metric by SAE and letter. `attributes`: L0 against the metric, by attribute.
    `tradeoff`: what is kept against what is forgotten."""
    eval: str
    metric: str
    caption: str


def planned_figures(rows: Sequence[Row]) -> list[Figure]:
    """Two pictures for every headline metric, loss recovered itself only one, and those of metrics' parts."""
    metrics: dict[tuple[str, str], str] = {}
    for row in rows:
        if row.headline and row.metric is not None and row.column is not None:
            metrics.setdefault((row.eval, row.metric), row.title or row.metric)
    figures = [
        Figure(f"{eval_name}_{metric}", "metric", eval_name, metric, f"{title} against L0")
        for (eval_name, metric), title in metrics.items()
    ]
    if any(row.metric == LOSS_RECOVERED for row in rows):
        figures += [
            Figure(
                f"loss_recovered_by_{eval_name}_{metric}",
                "loss_recovered",
                eval_name,
                metric,
                f"Loss recovered against L0, coloured by {_in_a_sentence(title)}",
            )
            for (eval_name, metric), title in metrics.items()
            if metric != LOSS_RECOVERED
        ]
    return figures + [_of_parts(parts) for parts in _parts() if _has_parts(rows, parts)]


def _has_parts(rows: Sequence[Row], parts: _Parts) -> bool:
    return any(is_part(row, parts.eval, parts.metric, parts.places) for row in rows)


def is_part(row: Row, eval_name: str, metric: str, places: Collection[str]) -> bool:
    """Whether `row` is a number of the metric at a place that these names tell."""
    return (row.eval, row.metric) == (eval_name, metric) and row.value is not None and row.place.keys() == set(places)


def _of_parts(parts: _Parts) -> Figure:
    return Figure(f"{parts.eval}_{parts.metric}_{parts.suffix}", parts.kind, parts.eval, parts.metric, parts.caption)


def _in_a_sentence(title: str) -> str:
    """`title` with a small first letter, unless it is an abbreviation."""
    return title if title[:2].isupper() else title[:1].lower() + title[1:]
