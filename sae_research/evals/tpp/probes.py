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
    """Which texts of one data set enter each number."""

    tasks: Tasks
    """The probes' tasks; the training rows of the keyed draws."""
    effects: TaskRows
    """The training rows that rank the latents for each class."""
    clean: Bool[Tensor, "texts classes"]
    """The test texts of each probe's accuracy before any ablation."""
    ablated: Bool[Tensor, "texts ablated n classes"]
    """The test texts of each probe's accuracy after an ablation; of size 1 along an axis where they do not differ."""
    starts: Sequence[SaeBenchStart] = ()
    """Where SAEBench's probes start; empty for keyed draws."""


def draw_keyed(labelled: LabelledSet, key: tuple[str | int, ...]) -> TppDraws:
    """The same texts for every accuracy; they depend on the data set and the class only."""
    train, test = _sizes(labelled)
    tasks = make_tasks(train, test, key=key)
    clean = mark_rows(tasks.test)
    return TppDraws(tasks, tasks.train, clean, clean[:, None, None])


def _sizes(labelled: LabelledSet) -> tuple[dict[str, int], dict[str, int]]:
    """How many texts each class has for training and for testing."""
    train, test = ({name: len(texts) for name, texts in split.items()} for split in (labelled.train, labelled.test))
    return train, test


class SaeBenchRun(NamedTuple):
    """SAEBench's settings that its random stream depends on."""

    seed: int
    n_ablations: int
    recipe: SaeBenchRecipe
    d: int
    """The width of the activations."""


def draw_as_sae_bench(sets: Sequence[LabelledSet], keyed: Sequence[TppDraws], run: SaeBenchRun) -> list[TppDraws]:
    """SAEBench's draws for all data sets: its probes' as with empty caches, the rest as with full ones."""
    cold, warm = (torch.Generator().manual_seed(run.seed) for _ in range(2))
    draws = []
    for labelled, keyed_draws in zip(sets, keyed, strict=True):
        train, test = (class_rows(sizes) for sizes in _sizes(labelled))
        starts = []
        for name in train:
            train_rows = draw_one_against_rest(train, name, cold)
            test_rows = draw_one_against_rest(test, name, cold)
            starts.append(draw_start(train_rows, test_rows, run.d, run.recipe, cold))
        clean = [draw_one_against_rest(test, name, cold) for name in test]
        _draw_ablations(train, test, cold, run.n_ablations)  # For the first SAE, which SAEBench measures meanwhile.
        effects, ablated = _draw_ablations(train, test, warm, run.n_ablations)
        tasks = keyed_draws.tasks
        marked = mark_rows(_task_rows(ablated, tasks.test.n))
        draws.append(
            TppDraws(
                tasks,
                effects=_task_rows(effects, tasks.train.n),
                clean=mark_rows(_task_rows(clean, tasks.test.n)),
                ablated=marked.view(-1, len(test), run.n_ablations, len(test)),
                starts=starts,
            )
        )
    return draws


def _draw_ablations(
    train: Mapping[str, Tensor], test: Mapping[str, Tensor], generator: torch.Generator, n_ablations: int
) -> tuple[list[DrawnRows], list[DrawnRows]]:
    """The texts that measure one SAE: training texts by class, then test texts by ablated class, n and class."""
    effects = [draw_one_against_rest(train, name, generator) for name in train]
    ablated = [draw_one_against_rest(test, name, generator) for _ in test for _ in range(n_ablations) for name in test]
    return effects, ablated


def _task_rows(drawn: Sequence[DrawnRows], n: int) -> TaskRows:
    rows, positive = (torch.stack(parts) for parts in zip(*drawn, strict=True))
    return TaskRows(rows, positive, n)


def fit_probes(
    train: Float[Tensor, "train_texts d"], test: Float[Tensor, "test_texts d"], draws: TppDraws, recipe: SaeBenchRecipe
) -> LinearProbes:
    """A probe per class: convex ones, their regularisation chosen on held-out training texts, or SAEBench's."""
    if draws.starts:
        return fit_as_sae_bench(train, test, draws.starts, recipe)
    split = draws.tasks.train
    positive, counts = (mark_rows(split, positive_only=only).to(train.device) for only in (True, False))
    probes = fit_wide(train.double(), positive, counts, draws.tasks.held_out.to(train.device))
    return LinearProbes(probes.weights.T, probes.biases)
