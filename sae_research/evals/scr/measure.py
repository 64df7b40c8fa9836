"""The passes of spurious-correlation removal: each text is read once, and encoded once by each SAE."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sae_research.data.paired import PairedSet
from sae_research.evals.base import EvalContext, Outcome
from sae_research.evals.scr.probes import BIASED, CLASS, GROUP, Layout, SaeBenchStream, fit_keyed, shuffled_rows
from sae_research.evals.scr.report import Changed, PairProbes, PairScores, score_pair, scr_output
from sae_research.evals.scr.settings import ScrSettings
from sae_research.evals.shared.attempts import Attempt, do_each
from sae_research.evals.shared.padding import padding_ratios, with_padding
from sae_research.evals.shared.pooling import group_by_memory, pool_texts
from sae_research.probes.ablation import ablated_logits, choose_latents, class_means, removal_effects
from sae_research.probes.sae_bench import LinearProbes, SaeBenchRecipe, fit_as_sae_bench
from sae_research.saes.base import Sae

# Mean codes of all texts of a pair, over the SAEs of a group; a further group reads the texts again.
_MEMORY = 4 * 2**30
# Per direction the probe whose latents are ablated, and the one whose labels the biased probe is asked for.
_ABLATED = {1: GROUP, 2: CLASS}
_ASKED = {1: CLASS, 2: GROUP}


def measure_scr(
    context: EvalContext,
    saes: Sequence[Sae],
    sets: Sequence[PairedSet],
    settings: ScrSettings,
    recipe: SaeBenchRecipe | None = None,
) -> Iterator[Outcome]:
    """The outcome of every SAE (all at one site) on the given pairs; `recipe` is that of SAEBench's probes."""
    recipe = recipe or SaeBenchRecipe()
    stream = SaeBenchStream(context.seed, n_ablations=len(settings.n_values), recipe=recipe)
    attempts = [Attempt(sae) for sae in saes]
    scores: dict[Attempt, list[PairScores]] = {attempt: [] for attempt in attempts}
    found: list[PairProbes] = []
    with torch.no_grad():
        for paired in sets:
            pair = _read_pair(context, attempts, paired, settings, stream if settings.sampling == "sae_bench" else None)
            found.append(pair.probes)
            for attempt, changed in pair.changed.items():
                own = attempt.do(score_pair, paired, pair.probes, changed, settings.n_values, settings.rules)
                if own is not None:
                    scores[attempt].append(own)
    for attempt in attempts:
        yield attempt.finish(lambda own=attempt: scr_output(own.sae, scores[own], found, settings))


class _PairFound(NamedTuple):
    """What came of one pair."""

    probes: PairProbes
    changed: dict[Attempt, Changed]


def _read_pair(
    context: EvalContext,
    attempts: Sequence[Attempt],
    paired: PairedSet,
    settings: ScrSettings,
    stream: SaeBenchStream | None,
) -> _PairFound:
    train, test = Layout.of(paired.train), Layout.of(paired.test)
    site, size = attempts[0].sae.card.site, settings.context_size
    encoded, rest = [*train.balanced, *test.balanced], [*train.rest, *test.rest]
    context.progress.expect(len(rest))
    more, _ = pool_texts(context, [], rest, site=site, context_size=size)
    subject: _Subject | None = None
    changed: dict[Attempt, Changed] = {}
    for group in group_by_memory(attempts, len(encoded), limit_bytes=_MEMORY):
        context.progress.expect(len(encoded))
        channels, codes = pool_texts(context, group, encoded, site=site, context_size=size)
        if subject is None:
            subject = _Subject.of(context, paired, channels, more, settings, stream)
        changed |= do_each(context.lm.device, list(codes), subject.ablate, codes)
    assert subject is not None
    return _PairFound(subject.judged, changed)


@dataclass(frozen=True)
class _Subject:
    """One pair as the model reads it: its probes, and their logits on the balanced test texts."""

    settings: ScrSettings
    train: Layout
    probes: LinearProbes
    logits: Float[Tensor, "texts probes"]
    labels: dict[int, np.ndarray]
    """Which test texts are on the positive side, by probe, in the order of what is reported."""
    order: np.ndarray
    ratios: Tensor | None

    @classmethod
    def of(
        cls, context: EvalContext, paired: PairedSet, channels: Tensor, more: Tensor, settings: ScrSettings,
        stream: SaeBenchStream | None,
    ) -> _Subject:  # fmt: skip
        """The pair with its probes trained; `channels` are the balanced texts of train, then test, `more` the rest."""
        train, test = Layout.of(paired.train), Layout.of(paired.test)
        cut, cut_more = len(train.balanced), len(train.rest)
        x = torch.cat([channels[:cut], more[:cut_more]])
        key = ("scr", context.seed, paired.name, *paired.pair)
        if stream is None:
            probes = fit_keyed(x, train, key)
        else:
            starts = stream.starts(train, test, x.shape[1])
            probes = fit_as_sae_bench(x, torch.cat([channels[cut:], more[cut_more:]]), starts, stream.recipe)
        ratios = padding_ratios(context.lm, test.balanced, context_size=settings.context_size)
        order = shuffled_rows(len(test.balanced), key)
        return cls(
            settings, train, probes, probes.logits(channels[cut:]), _labels(test, order), order,
            ratios if settings.rules == "sae_bench" else None,
        )  # fmt: skip

    @property
    def judged(self) -> PairProbes:
        """What the model's probes get right."""
        said = (self.logits > 0).cpu().numpy()[self.order]
        clean = {d: said[:, probe] == self.labels[probe] for d, probe in _ASKED.items()}
        biased = {d: said[:, BIASED] == self.labels[probe] for d, probe in _ASKED.items()}
        return PairProbes(*({d: hits.astype(np.float64) for d, hits in kind.items()} for kind in (clean, biased)))

    def ablate(self, attempt: Attempt, codes: dict[Attempt, Tensor]) -> Changed:
        """What the biased probe gets right once the latents of either concept are ablated; takes the SAE's codes."""
        cut, sae = len(self.train.balanced), attempt.sae
        seen, asked = codes.pop(attempt).tensor_split([cut])
        if self.ratios is not None:
            asked = with_padding(sae, asked, self.ratios)
        directions = sae.W_dec.double() @ self.probes.weights.double().T
        effects = removal_effects(class_means(seen, self.train.tasks().to(seen.device)), directions[:, [GROUP, CLASS]])
        return {d: self._changed(d, asked, directions, effects) for d in _ABLATED}

    def _changed(self, direction: int, codes: Tensor, directions: Tensor, effects: Tensor) -> np.ndarray:
        chosen = choose_latents(effects[_ABLATED[direction]], self.settings.n_values, self.settings.rules)
        after = ablated_logits(codes, directions[:, [BIASED]], self.logits[:, [BIASED]], chosen)[..., 0]
        hits = (after > 0).cpu().numpy()[:, self.order] == self.labels[_ASKED[direction]]
        return np.where(after.isnan().cpu().numpy(), np.nan, hits)


def _labels(test: Layout, order: np.ndarray) -> dict[int, np.ndarray]:
    labels = {}
    for probe in (GROUP, CLASS):
        positive = np.zeros(len(test.balanced), dtype=bool)
        positive[test.sides(probe)[0].numpy()] = True
        labels[probe] = positive[order]
    return labels
