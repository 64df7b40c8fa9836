"""Spurious-correlation removal: each text is read once, encoded once by each SAE, and ablated in closed form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sae_research.data.paired import PairedSet
from sae_research.evals.base import EvalContext, Outcome
from sae_research.evals.scr.probes import BIASED, CLASS, GROUP, PairTexts, SaeBenchStream, fit_keyed
from sae_research.evals.scr.report import AblatedHits, PairProbes, PairScores, score_pair, scr_output
from sae_research.evals.scr.settings import ScrSettings
from sae_research.evals.shared.attempts import Attempt, do_each
from sae_research.evals.shared.padding import padding_ratios, with_padding
from sae_research.evals.shared.pooling import group_by_memory, pool_texts
from sae_research.probes.ablation import ablated_logits, choose_latents, class_means, removal_effects
from sae_research.probes.draws import Rules, keyed_generator
from sae_research.probes.sae_bench import LinearProbes, SaeBenchRecipe, fit_as_sae_bench
from sae_research.saes.base import Sae

# Bytes of mean codes, over all texts of a pair and the SAEs of a group; each group reads the texts again.
_MEMORY = 4 * 2**30
# By direction: the probe whose latents are ablated, and the probe whose labels the biased probe should then give.
_ABLATED = {1: GROUP, 2: CLASS}
_WANTED = {1: CLASS, 2: GROUP}


def measure_scr(
    context: EvalContext,
    saes: Sequence[Sae],
    sets: Sequence[PairedSet],
    settings: ScrSettings,
    recipe: SaeBenchRecipe | None = None,
) -> Iterator[Outcome]:
    """The outcome of every SAE (all at one site) on the given pairs; `recipe` trains SAEBench's probes."""
    recipe = recipe or SaeBenchRecipe()
    stream = None
    if settings.sampling == "sae_bench":
        stream = SaeBenchStream(context.seed, n_ablations=len(settings.n_values), recipe=recipe)
    attempts = [Attempt(sae) for sae in saes]
    scores: dict[Attempt, list[PairScores]] = {attempt: [] for attempt in attempts}
    probes: list[PairProbes] = []
    with torch.no_grad():
        for paired in sets:
            pair_probes, hits_by_sae = _measure_pair(context, attempts, paired, settings, stream)
            probes.append(pair_probes)
            for attempt, hits in hits_by_sae.items():
                pair_scores = attempt.do(score_pair, paired, pair_probes, hits, settings.n_values, settings.rules)
                if pair_scores is not None:
                    scores[attempt].append(pair_scores)
    for attempt in attempts:
        yield attempt.finish(lambda attempt=attempt: scr_output(scores[attempt], probes, settings.n_values))


def _measure_pair(
    context: EvalContext,
    attempts: Sequence[Attempt],
    paired: PairedSet,
    settings: ScrSettings,
    stream: SaeBenchStream | None,
) -> tuple[PairProbes, dict[Attempt, AblatedHits]]:
    """The test texts that the model's probes get right, and those that the biased one gets right after ablations."""
    train, test = PairTexts.of(paired.train), PairTexts.of(paired.test)
    site, context_size = attempts[0].sae.card.site, settings.context_size
    balanced, rest = [*train.balanced, *test.balanced], [*train.rest, *test.rest]
    context.progress.expect(len(rest))
    rest_x, _ = pool_texts(context, [], rest, site=site, context_size=context_size)
    pair: _ProbedPair | None = None
    hits: dict[Attempt, AblatedHits] = {}
    for group in group_by_memory(attempts, len(balanced), limit_bytes=_MEMORY):
        context.progress.expect(len(balanced))
        balanced_x, codes = pool_texts(context, group, balanced, site=site, context_size=context_size)
        if pair is None:
            pair = _probe_pair(context, paired, (train, test), balanced_x, rest_x, settings, stream)
        hits |= do_each(context.lm.device, list(codes), pair.ablate, codes)
    assert pair is not None
    return pair.model_hits(), hits


def _probe_pair(
    context: EvalContext, paired: PairedSet, texts: tuple[PairTexts, PairTexts], balanced_x: Tensor, rest_x: Tensor,
    settings: ScrSettings, stream: SaeBenchStream | None,
) -> _ProbedPair:  # fmt: skip
    """The pair with its probes trained; `balanced_x` and `rest_x` hold train and then test texts."""
    train, test = texts
    n_balanced, n_rest = len(train.balanced), len(train.rest)
    x = torch.cat([balanced_x[:n_balanced], rest_x[:n_rest]])
    key = ("scr", context.seed, paired.name, *paired.pair)
    if stream is None:
        probes = fit_keyed(x, train, key)
    else:
        starts = stream.starts(train, test, x.shape[1])
        test_x = torch.cat([balanced_x[n_balanced:], rest_x[n_rest:]])
        probes = fit_as_sae_bench(x, test_x, starts, stream.recipe)
    order = keyed_generator(*key, "order").permutation(len(test.balanced))
    labels = {}
    for probe in (GROUP, CLASS):
        positive = np.zeros(len(test.balanced), dtype=bool)
        positive[test.sides(probe)[0].numpy()] = True
        labels[probe] = positive[order]
    ratios = None
    if settings.rules == "sae_bench":
        ratios = padding_ratios(context.lm, test.balanced, context_size=settings.context_size)
    logits = probes.logits(balanced_x[n_balanced:])
    return _ProbedPair(train, probes, logits, labels, order, ratios, settings.n_values, settings.rules)


@dataclass(frozen=True)
class _ProbedPair:
    """One pair with the model's probes and their logits on the balanced test texts."""

    train: PairTexts
    probes: LinearProbes
    logits: Float[Tensor, "texts probes"]
    labels: dict[int, np.ndarray]
    """Whether each test text is on the positive side, by probe and in `order`."""
    order: np.ndarray
    """The test texts in a random order: each replicate leaves out one run of them."""
    ratios: Tensor | None
    """Padding of the test texts; None where it is not ablated."""
    n_values: tuple[int, ...]
    rules: Rules

    def model_hits(self) -> PairProbes:
        """Which test texts the model's probes get right."""
        predicted = (self.logits > 0).cpu().numpy()[self.order]
        clean = {d: (predicted[:, probe] == self.labels[probe]).astype(np.float64) for d, probe in _WANTED.items()}
        biased = {d: (predicted[:, BIASED] == self.labels[probe]).astype(np.float64) for d, probe in _WANTED.items()}
        return PairProbes(clean, biased)

    def ablate(self, attempt: Attempt, codes: dict[Attempt, Tensor]) -> AblatedHits:
        """Which test texts the biased probe gets right after either ablation; takes the SAE's codes out of `codes`."""
        sae = attempt.sae
        train_codes, test_codes = codes.pop(attempt).tensor_split([len(self.train.balanced)])
        if self.ratios is not None:
            test_codes = with_padding(sae, test_codes, self.ratios)
        directions = sae.W_dec.double() @ self.probes.weights.double().T
        means = class_means(train_codes, self.train.tasks().to(train_codes.device))
        effects = removal_effects(means, directions[:, [GROUP, CLASS]])
        hits = {}
        for direction, ablated in _ABLATED.items():
            chosen = choose_latents(effects[ablated], self.n_values, self.rules)
            logits = ablated_logits(test_codes, directions[:, [BIASED]], self.logits[:, [BIASED]], chosen)[..., 0]
            right = (logits > 0).cpu().numpy()[:, self.order] == self.labels[_WANTED[direction]]
            hits[direction] = np.where(logits.isnan().cpu().numpy(), np.nan, right)
        return hits
