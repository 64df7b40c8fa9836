"""The passes of sparse probing: texts are read once per data set, what the model alone can do is probed once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from sae_research.evals.base import Attempt, EvalContext, Outcome
from sae_research.evals.parts.pooling import group_by_memory, pool_texts
from sae_research.evals.parts.probing_report import SetScores, probing_output
from sae_research.evals.sparse_probing import SparseProbingSettings
from sae_research.probes.tasks import Scores, Tasks, draw_tasks_as_peer, make_tasks, score_top_k, score_wide
from sae_research.saes.base import Sae

if TYPE_CHECKING:
    from sae_research.data.labelled import LabelledSet

# Mean codes of all texts of a data set, over the SAEs of a group; a further group reads the texts again.
_MEMORY = 4 * 2**30


def measure_probing(
    context: EvalContext, saes: Sequence[Sae], sets: Sequence[LabelledSet], settings: SparseProbingSettings
) -> Iterator[Outcome]:
    """The outcome of every SAE (all at one site) on the given data sets."""
    attempts = [Attempt(sae) for sae in saes]
    found: dict[Attempt, dict[str, SetScores]] = {attempt: {} for attempt in attempts}
    model: dict[str, SetScores] = {}
    with torch.no_grad():
        for labelled, tasks in zip(sets, _draw(sets, settings, context), strict=True):
            texts = list(chain(*labelled.train.values(), *labelled.test.values()))
            for group in group_by_memory(attempts, len(texts), limit_bytes=_MEMORY):
                context.progress.expect(len(texts))
                channels, codes = pool_texts(
                    context, group, texts, site=saes[0].card.site, context_size=settings.context_size
                )
                if labelled.name not in model:
                    model[labelled.name] = _score(channels, tasks)
                for attempt in list(codes):
                    scores = attempt.do(_score, codes.pop(attempt), tasks)
                    if scores is not None:
                        found[attempt][labelled.name] = scores
    for attempt in attempts:
        yield attempt.finish(lambda own=attempt: probing_output(own.sae, found[own], model, settings.k_values))


class _Draws(NamedTuple):
    """The tasks of one data set: for full-width probes, and for k-probes with the values of k that share them."""

    wide: Tasks
    top: Sequence[tuple[Tasks, tuple[int, ...]]]


def _draw(sets: Sequence[LabelledSet], settings: SparseProbingSettings, context: EvalContext) -> list[_Draws]:
    """The tasks of all data sets; see `SparseProbingSettings.sampling`."""
    stream = torch.Generator().manual_seed(context.seed)
    draws = []
    for labelled in sets:
        sizes = _sizes(labelled.train), _sizes(labelled.test)
        keyed = make_tasks(*sizes, key=("sparse_probing", context.seed, labelled.name))
        if settings.sampling == "keyed":
            top = [(keyed, tuple(settings.k_values))]
        else:
            top = [(draw_tasks_as_peer(keyed, *sizes, stream), (k,)) for k in settings.k_values]
        device = context.lm.device
        draws.append(_Draws(keyed.to(device), [(tasks.to(device), ks) for tasks, ks in top]))
    return draws


def _sizes(texts: Mapping[str, Sequence[str]]) -> dict[str, int]:
    return {name: len(own) for name, own in texts.items()}


def _score(features: Tensor, draws: _Draws) -> SetScores:
    n = draws.wide.train.n
    train, test = features[:n], features[n:]
    top: dict[int, Scores] = {}
    for tasks, k_values in draws.top:
        top |= score_top_k(train, test, tasks, k_values)
    return SetScores(wide=score_wide(train, test, draws.wide), top=top)
