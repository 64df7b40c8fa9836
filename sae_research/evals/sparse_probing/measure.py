"""The passes of sparse probing: each text is read once for all seeds, what the model alone can do is probed once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sae_research.evals.base import EvalContext, Outcome
from sae_research.evals.shared.attempts import Attempt, do_each
from sae_research.evals.shared.pooling import group_by_memory, pool_texts
from sae_research.evals.sparse_probing.report import SeedScores, SetScores, probing_output
from sae_research.evals.sparse_probing.settings import SparseProbingSettings
from sae_research.metrics.accuracies import Judged
from sae_research.probes.tasks import Scores, Tasks, draw_tasks_as_sae_bench, make_tasks, score_top_k, score_wide
from sae_research.saes.base import Sae

if TYPE_CHECKING:
    from sae_research.data.labelled import LabelledSet

# Mean codes of all texts of a data set, over the SAEs of a group; a further group reads the texts again.
_MEMORY = 4 * 2**30


def measure_probing(
    context: EvalContext,
    saes: Sequence[Sae],
    sets: Sequence[LabelledSet],
    settings: SparseProbingSettings,
    further: Mapping[int, Sequence[LabelledSet]] = MappingProxyType({}),
) -> Iterator[Outcome]:
    """The outcome of every SAE (all at one site) on the given data sets.

    `sets` are what the context's seed draws, `further` what other seeds draw of the same data sets.
    """
    attempts = [Attempt(sae) for sae in saes]
    found: dict[Attempt, dict[str, SeedScores]] = {attempt: {} for attempt in attempts}
    model: dict[str, SeedScores] = {}
    with torch.no_grad():
        for reading in _readings({context.seed: sets, **further}, settings, context.lm.device):
            for group in group_by_memory(attempts, len(reading.texts), limit_bytes=_MEMORY):
                context.progress.expect(len(reading.texts))
                channels, codes = pool_texts(
                    context, group, reading.texts, site=saes[0].card.site, context_size=settings.context_size
                )
                if reading.name not in model:
                    model[reading.name] = _score(channels, reading)
                scores = do_each(context.lm.device, list(codes), _score_own, codes, reading)
                for attempt, own in scores.items():
                    found[attempt][reading.name] = own
    for attempt in attempts:
        yield attempt.finish(lambda own=attempt: probing_output(own.sae, found[own], model, settings.k_values))


class _Draws(NamedTuple):
    """The tasks of one data set: for full-width probes, and for k-probes with the values of k that share them."""

    wide: Tasks
    top: Sequence[tuple[Tasks, tuple[int, ...]]]


class _Drawn(NamedTuple):
    """What one seed draws of a data set."""

    rows: np.ndarray
    """Its texts, those of training first, among all that are read."""
    draws: _Draws


class _Reading(NamedTuple):
    """A data set over all seeds."""

    name: str
    texts: list[str]
    """Every text that some seed draws, once."""
    seeds: Mapping[int, _Drawn]


def _readings(
    sets: Mapping[int, Sequence[LabelledSet]], settings: SparseProbingSettings, device: torch.device
) -> list[_Reading]:
    """What is to be read and probed, by data set."""
    draws = {seed: _draw(own, settings, seed, device) for seed, own in sets.items()}
    readings = []
    for index, labelled in enumerate(next(iter(sets.values()))):
        by_seed = {seed: list(_texts(own[index])) for seed, own in sets.items()}
        places = {text: place for place, text in enumerate(dict.fromkeys(chain(*by_seed.values())))}
        drawn = {
            seed: _Drawn(np.array([places[text] for text in texts]), draws[seed][index])
            for seed, texts in by_seed.items()
        }
        readings.append(_Reading(labelled.name, list(places), drawn))
    return readings


def _texts(labelled: LabelledSet) -> Iterator[str]:
    return chain(*labelled.train.values(), *labelled.test.values())


def _draw(
    sets: Sequence[LabelledSet], settings: SparseProbingSettings, seed: int, device: torch.device
) -> list[_Draws]:
    """The tasks of all data sets; see `SparseProbingSettings.sampling`."""
    stream = torch.Generator().manual_seed(seed)
    draws = []
    for labelled in sets:
        sizes = _sizes(labelled.train), _sizes(labelled.test)
        keyed = make_tasks(*sizes, key=("sparse_probing", seed, labelled.name))
        if settings.sampling == "keyed":
            top = [(keyed, tuple(settings.k_values))]
        else:
            top = [(draw_tasks_as_sae_bench(keyed, *sizes, stream), (k,)) for k in settings.k_values]
        draws.append(_Draws(keyed.to(device), [(tasks.to(device), ks) for tasks, ks in top]))
    return draws


def _sizes(texts: Mapping[str, Sequence[str]]) -> dict[str, int]:
    return {name: len(own) for name, own in texts.items()}


def _score_own(attempt: Attempt, codes: dict[Attempt, Tensor], reading: _Reading) -> SeedScores:
    """The scores of one SAE, whose codes are given up for it."""
    return _score(codes.pop(attempt), reading)


def _score(features: Tensor, reading: _Reading) -> SeedScores:
    """The scores of each seed; a text has the same number in all of them."""
    found = {}
    for seed, drawn in reading.seeds.items():
        scores = _score_seed(_chosen(features, drawn.rows), drawn.draws)
        test = drawn.rows[drawn.draws.wide.train.n :]
        found[seed] = SetScores(_numbered(scores.wide, test), {k: _numbered(s, test) for k, s in scores.top.items()})
    return found


def _chosen(features: Tensor, rows: np.ndarray) -> Tensor:
    """The rows of `features`; no copy of them where all are asked for in their order."""
    if len(rows) == len(features) and (rows == np.arange(len(rows))).all():
        return features
    return features[torch.from_numpy(rows).to(features.device)]


def _score_seed(features: Tensor, draws: _Draws) -> SetScores:
    n = draws.wide.train.n
    train, test = features[:n], features[n:]
    top: dict[int, Scores] = {}
    for tasks, k_values in draws.top:
        top |= score_top_k(train, test, tasks, k_values)
    return SetScores(wide=score_wide(train, test, draws.wide), top=top)


def _numbered(scores: Scores, numbers: np.ndarray) -> Scores:
    """`scores` with each test row's number among all texts."""
    return {name: Judged(own.hits, numbers[own.examples]) for name, own in scores.items()}
