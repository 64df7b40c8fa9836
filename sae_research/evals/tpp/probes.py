"""The draws and probes of targeted probe perturbation: one probe per class of a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sae_research.data.labelled import LabelledSet
from sae_research.probes.sae_bench import (
    DrawnRows,
    LinearProbes,
    SaeBenchRecipe,
    SaeBenchStart,
    draw_one_against_rest,
    draw_start,
    fit_as_sae_bench,
)
from sae_research.probes.tasks import TaskRows, Tasks, class_rows, make_tasks, mark_rows
from sae_research.probes.wide import fit_wide


class TppDraws(NamedTuple):
    """Which texts of one data set each number is made of."""

    tasks: Tasks
    """The probes' tasks; the training rows of the keyed draws."""
    effects: TaskRows
    """The training rows that rank the latents for each class."""
    clean: Bool[Tensor, "texts classes"]
    """The test texts of each probe's accuracy before any ablation."""
    ablated: Bool[Tensor, "texts ablated n classes"]
    """The test texts of each probe's accuracy after an ablation; sizes of 1 where all are alike."""
    starts: Sequence[SaeBenchStart] = ()
    """What SAEBench's probes start from; empty for keyed draws."""


def draw_keyed(labelled: LabelledSet, key: tuple[str | int, ...]) -> TppDraws:
    """The same texts for every accuracy, drawn by data set and class alone."""
    train, test = _sizes(labelled.train), _sizes(labelled.test)
    tasks = make_tasks(train, test, key=key)
    clean = mark_rows(tasks.test)
    return TppDraws(tasks, tasks.train, clean, clean[:, None, None])


class SaeBenchRun(NamedTuple):
    """SAEBench's settings that its random stream depends on."""

    seed: int
    n_ablations: int
    recipe: SaeBenchRecipe
    d: int
    """The width of the activations."""


def draw_as_sae_bench(sets: Sequence[LabelledSet], keyed: Sequence[TppDraws], run: SaeBenchRun) -> list[TppDraws]:
    """SAEBench's draws for all data sets from the seed: its probes' with empty caches, the rest with full ones."""
    cold, warm = (torch.Generator().manual_seed(run.seed) for _ in range(2))
    found = []
    for labelled, own in zip(sets, keyed, strict=True):
        train, test = class_rows(_sizes(labelled.train)), class_rows(_sizes(labelled.test))
        starts = []
        for name in train:
            seen = draw_one_against_rest(train, name, cold)
            asked = draw_one_against_rest(test, name, cold)
            starts.append(draw_start(seen, asked, run.d, run.recipe, cold))
        clean = [draw_one_against_rest(test, name, cold) for name in test]
        _draw_ablations(train, test, cold, run.n_ablations)  # What the first SAE sees while the caches fill.
        effects, ablated = _draw_ablations(train, test, warm, run.n_ablations)
        found.append(
            TppDraws(
                own.tasks, _split(effects, own.tasks.train.n), _marked(clean, own.tasks.test.n),
                _marked(ablated, own.tasks.test.n).view(-1, len(test), run.n_ablations, len(test)), starts,
            )
        )  # fmt: skip
    return found


def _draw_ablations(
    train: Mapping[str, Tensor], test: Mapping[str, Tensor], generator: torch.Generator, n_ablations: int
) -> tuple[list[DrawnRows], list[DrawnRows]]:
    """What one SAE is measured on: training texts by class, then test texts by ablated class, n and class."""
    effects = [draw_one_against_rest(train, name, generator) for name in train]
    asked = [draw_one_against_rest(test, name, generator) for _ in test for _ in range(n_ablations) for name in test]
    return effects, asked


def _split(drawn: Sequence[DrawnRows], n: int) -> TaskRows:
    rows, positive = (torch.stack(parts) for parts in zip(*drawn, strict=True))
    return TaskRows(rows, positive, n)


def _marked(drawn: Sequence[DrawnRows], n: int) -> Bool[Tensor, "texts drawn"]:
    return mark_rows(_split(drawn, n))


def _sizes(texts: Mapping[str, Sequence[str]]) -> dict[str, int]:
    return {name: len(own) for name, own in texts.items()}


def fit_probes(
    train: Float[Tensor, "train_texts d"], test: Float[Tensor, "test_texts d"], draws: TppDraws, recipe: SaeBenchRecipe
) -> LinearProbes:
    """A probe per class: convex ones, their strength chosen on held-out training texts, or SAEBench's."""
    if draws.starts:
        return fit_as_sae_bench(train, test, draws.starts, recipe)
    split = draws.tasks.train
    positive = mark_rows(split, positive_only=True)
    found = fit_wide(
        train.double(), positive.to(train.device), mark_rows(split).to(train.device),
        draws.tasks.held_out.to(train.device),
    )  # fmt: skip
    return LinearProbes(found.weights.T, found.biases)
