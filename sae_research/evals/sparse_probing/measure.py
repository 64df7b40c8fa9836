"""Sparse probing: each text is read once for all seeds, and the model's own probes are trained once for all SAEs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from sae_research.evals.base import EvalContext, Outcome
from sae_research.evals.shared.attempts import Attempt, do_each
from sae_research.evals.shared.pooling import pool_in_groups
from sae_research.evals.shared.seeds import number_texts
from sae_research.evals.sparse_probing.kept_scores import scores_as_tensors, scores_from_tensors
from sae_research.evals.sparse_probing.report import ProbeScores, ScoresBySeed, probing_output
from sae_research.evals.sparse_probing.settings import SparseProbingSettings
from sae_research.lm.site import Site
from sae_research.metrics.accuracies import ProbeTest
from sae_research.probes.sparse_rows import Rows, take_rows
from sae_research.probes.tasks import (
    ClassTests,
    Tasks,
    draw_tasks_as_sae_bench,
    make_tasks,
    rank_features,
    score_top_k,
    score_wide,
)
from sae_research.saes.base import Sae

if TYPE_CHECKING:
    from sae_research.data.labelled import LabelledSet


def measure_probing(
    context: EvalContext,
    saes: Sequence[Sae],
    sets: Mapping[int, Sequence[LabelledSet]],
    settings: SparseProbingSettings,
) -> Iterator[Outcome]:
    """The outcome of every SAE (all at one site) on the data sets as each seed draws them."""
    attempts = [Attempt(sae) for sae in saes]
    sae_scores: dict[Attempt, dict[str, ScoresBySeed]] = {attempt: {} for attempt in attempts}
    model_scores: dict[str, ScoresBySeed] = {}
    with torch.no_grad():
        for probed in _plan(sets, settings, context.lm.device):
            pooled = pool_in_groups(
                context, attempts, probed.texts, site=saes[0].card.site, context_size=settings.context_size
            )
            for channels, codes in pooled:
                if probed.name not in model_scores:
                    model_scores[probed.name] = _score_model(context, saes[0].card.site, channels, probed)
                scores = do_each(
                    context.lm.device, list(codes), _score_sae, codes, probed, wide_probes=settings.wide_probes
                )
                for attempt, by_seed in scores.items():
                    sae_scores[attempt][probed.name] = by_seed
    for attempt in attempts:
        yield attempt.finish(
            lambda attempt=attempt: probing_output(sae_scores[attempt], model_scores, settings.k_values)
        )


class _SeedTasks(NamedTuple):
    """The texts and tasks of one seed in a data set."""

    rows: np.ndarray
    """The numbers of its texts among all texts of the data set, training texts first."""
    wide: Tasks
    """For full-width probes."""
    top: Sequence[tuple[Tasks, tuple[int, ...]]]
    """For k-probes, with the values of k that share the tasks."""


class _SeededSet(NamedTuple):
    """A data set over all seeds."""

    name: str
    texts: list[str]
    """Every text that some seed draws, once."""
    by_seed: Mapping[int, _SeedTasks]


def _plan(
    sets: Mapping[int, Sequence[LabelledSet]], settings: SparseProbingSettings, device: torch.device
) -> list[_SeededSet]:
    """The texts and tasks of each data set."""
    tasks = {seed: _draw_tasks(of_seed, settings, seed) for seed, of_seed in sets.items()}
    plan = []
    for index, labelled in enumerate(next(iter(sets.values()))):
        drawn = number_texts(
            {seed: [*chain(*s[index].train.values(), *s[index].test.values())] for seed, s in sets.items()}
        )
        by_seed = {}
        for seed, rows in drawn.places.items():
            wide, top = tasks[seed][index]
            by_seed[seed] = _SeedTasks(rows, wide.to(device), [(t.to(device), ks) for t, ks in top])
        plan.append(_SeededSet(labelled.name, drawn.texts, by_seed))
    return plan


def _draw_tasks(
    sets: Sequence[LabelledSet], settings: SparseProbingSettings, seed: int
) -> list[tuple[Tasks, list[tuple[Tasks, tuple[int, ...]]]]]:
    """The full-width and the k-probes' tasks of each data set; see `SparseProbingSettings.sampling`."""
    stream = torch.Generator().manual_seed(seed)
    tasks = []
    for labelled in sets:
        train, test = ({name: len(texts) for name, texts in half.items()} for half in (labelled.train, labelled.test))
        keyed = make_tasks(train, test, key=("sparse_probing", seed, labelled.name))
        if settings.sampling == "keyed":
            top = [(keyed, tuple(settings.k_values))]
        else:
            top = [(draw_tasks_as_sae_bench(keyed, train, test, stream), (k,)) for k in settings.k_values]
        tasks.append((keyed, top))
    return tasks


def _score_model(context: EvalContext, site: Site, channels: Rows, probed: _SeededSet) -> ScoresBySeed:
    """The scores of the model's own channels, which an earlier run may have found."""
    parts = ["probes", site.hook_name, site.centred, probed.name]
    known = context.recall(parts)
    if known is not None:
        return scores_from_tensors(known, list(probed.by_seed))
    scores = _score(channels, probed)
    context.keep(parts, scores_as_tensors(scores))
    return scores


def _score_sae(attempt: Attempt, codes: dict[Attempt, Rows], probed: _SeededSet, *, wide_probes: bool) -> ScoresBySeed:
    """The scores of one SAE; takes its codes out of `codes` to free their memory."""
    return _score(codes.pop(attempt), probed, wide_probes=wide_probes)


def _score(features: Rows, probed: _SeededSet, *, wide_probes: bool = True) -> ScoresBySeed:
    """The scores of each seed; a text has the same number in all of them."""
    scores = {}
    for seed, drawn in probed.by_seed.items():
        n_train = drawn.wide.train.n
        train, test = (take_rows(features, rows) for rows in torch.from_numpy(drawn.rows).tensor_split([n_train]))
        top: dict[int, ClassTests] = {}
        best: dict[str, int] = {}
        for tasks, k_values in drawn.top:
            ranked = rank_features(train, tasks.train, max(k_values))
            top |= score_top_k(train, test, tasks, k_values, best=ranked)
            best = best or dict(zip(tasks.classes, ranked[:, 0].tolist(), strict=True))
        wide, numbers = score_wide(train, test, drawn.wide) if wide_probes else {}, drawn.rows[n_train:]
        scores[seed] = ProbeScores(_numbered(wide, numbers), {k: _numbered(t, numbers) for k, t in top.items()}, best)
    return scores


def _numbered(tests: ClassTests, numbers: np.ndarray) -> ClassTests:
    """`tests` with each test row's number among all texts of the data set."""
    return {name: ProbeTest(test.hits, numbers[test.examples]) for name, test in tests.items()}
