"""Spurious-correlation removal: each text is read once, encoded once by each SAE, and ablated in closed form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sae_research.data.paired import PairedSet
from sae_research.evals.base import EvalContext, Outcome
from sae_research.evals.scr.probes import BIASED, CLASS, GROUP, PairTexts, SaeBenchStream, fit_keyed
from sae_research.evals.scr.report import AblatedHits, PairProbes, PairScores, score_pair, scr_output
from sae_research.evals.scr.settings import ScrSettings
from sae_research.evals.shared.ablation_settings import ablations_of
from sae_research.evals.shared.attempts import Attempt, do_each
from sae_research.evals.shared.padding import padding_ratios, with_padding
from sae_research.evals.shared.pooling import pool_in_groups, pool_texts
from sae_research.evals.shared.seeds import number_texts
from sae_research.probes.ablation import ablated_logits, atom_products, choose_latents, class_means, removal_effects
from sae_research.probes.draws import Rules
from sae_research.probes.sae_bench import LinearProbes, SaeBenchRecipe, fit_as_sae_bench
from sae_research.probes.sparse_rows import Rows, take_rows
from sae_research.saes.base import Sae

# By direction: the probe whose latents are ablated, and the probe whose labels the biased probe should then give.
_ABLATED = {1: GROUP, 2: CLASS}
_WANTED = {1: CLASS, 2: GROUP}


def measure_scr(
    context: EvalContext,
    saes: Sequence[Sae],
    sets: Mapping[int, Sequence[PairedSet]],
    settings: ScrSettings,
    recipe: SaeBenchRecipe | None = None,
) -> Iterator[Outcome]:
    """The outcome of every SAE (all at one site) on the pairs as each seed draws them; `recipe` trains SAEBench's
    probes."""
    recipe = recipe or SaeBenchRecipe()
    streams: dict[int, SaeBenchStream] = {}
    if settings.sampling == "sae_bench":
        streams = {s: SaeBenchStream(s, n_ablations=len(settings.n_values), recipe=recipe) for s in sets}
    attempts, ablations = [Attempt(sae) for sae in saes], ablations_of(settings, saes[0].card.d_in)
    scores: dict[Attempt, list[PairScores]] = {attempt: [] for attempt in attempts}
    probes: list[Mapping[int, PairProbes]] = []
    with torch.no_grad():
        for drawn in zip(*sets.values(), strict=True):
            pairs = dict(zip(sets, drawn, strict=True))
            pair_probes, hits_by_sae = _measure_pair(context, attempts, pairs, settings, streams)
            probes.append(pair_probes)
            for attempt, hits in hits_by_sae.items():
                pair_scores = attempt.do(score_pair, drawn[0], pair_probes, hits, ablations.numbers, settings.rules)
                if pair_scores is not None:
                    scores[attempt].append(pair_scores)
    for attempt in attempts:
        yield attempt.finish(lambda attempt=attempt: scr_output(scores[attempt], probes, ablations, settings.n_shares))


class _DrawnPair(NamedTuple):
    """One seed's texts of a pair, as places among the texts of all seeds."""

    paired: PairedSet
    train: PairTexts
    test: PairTexts
    balanced: np.ndarray
    """Training texts, then test texts; all of them are encoded."""
    rest: np.ndarray


def _measure_pair(
    context: EvalContext,
    attempts: Sequence[Attempt],
    pairs: Mapping[int, PairedSet],
    settings: ScrSettings,
    streams: Mapping[int, SaeBenchStream],
) -> tuple[dict[int, PairProbes], dict[Attempt, dict[int, AblatedHits]]]:
    """By seed what the model's probes get right, and what the biased one gets right after each SAE's ablations."""
    texts, drawn = _number_pair(pairs)
    n_encoded = 1 + max(int(pair.balanced.max()) for pair in drawn.values())
    site, context_size = attempts[0].sae.card.site, settings.context_size
    context.progress.expect(len(texts) - n_encoded)
    rest_x, _ = pool_texts(context, [], texts[n_encoded:], site=site, context_size=context_size)
    probed: dict[int, _ProbedPair] = {}
    hits: dict[Attempt, dict[int, AblatedHits]] = {}
    for x, codes in pool_in_groups(
        context, attempts, texts[:n_encoded], site=site, context_size=context_size, contributions=True
    ):
        if not probed:
            x = torch.cat([x, rest_x])
            probed = {s: _probe_pair(context, s, pair, x, settings, streams.get(s)) for s, pair in drawn.items()}
        hits |= do_each(context.lm.device, list(codes), _ablate, codes, probed)
    return {seed: pair.model_hits() for seed, pair in probed.items()}, hits


def _number_pair(pairs: Mapping[int, PairedSet]) -> tuple[list[str], dict[int, _DrawnPair]]:
    """The texts of all seeds, each once and those that are encoded first, and what each seed draws of them."""
    split = {seed: (PairTexts.of(paired.train), PairTexts.of(paired.test)) for seed, paired in pairs.items()}
    draws = {(seed, "balanced"): [*train.balanced, *test.balanced] for seed, (train, test) in split.items()}
    draws |= {(seed, "rest"): [*train.rest, *test.rest] for seed, (train, test) in split.items()}
    numbered = number_texts(draws)
    return numbered.texts, {
        seed: _DrawnPair(pairs[seed], *halves, numbered.places[seed, "balanced"], numbered.places[seed, "rest"])
        for seed, halves in split.items()
    }


def _probe_pair(
    context: EvalContext, seed: int, drawn: _DrawnPair, x: Tensor, settings: ScrSettings, stream: SaeBenchStream | None
) -> _ProbedPair:
    """The pair with its probes trained; `x` are the mean activations of the texts of all seeds."""
    train, test = drawn.train, drawn.test
    (train_x, test_x), (train_rest, test_rest) = (
        x[torch.from_numpy(places).to(x.device)].tensor_split([size])
        for places, size in ((drawn.balanced, len(train.balanced)), (drawn.rest, len(train.rest)))
    )
    everything = torch.cat([train_x, train_rest])
    if stream is None:
        probes = fit_keyed(everything, train, ("scr", seed, drawn.paired.name, *drawn.paired.pair))
    else:
        starts = stream.starts(train, test, x.shape[1])
        probes = fit_as_sae_bench(everything, torch.cat([test_x, test_rest]), starts, stream.recipe)
    labels = {}
    for probe in (GROUP, CLASS):
        labels[probe] = np.zeros(len(test.balanced), dtype=bool)
        labels[probe][test.sides(probe)[0].numpy()] = True
    ratios, numbers = None, ablations_of(settings, x.shape[1]).numbers
    if settings.rules == "sae_bench":
        ratios = padding_ratios(context.lm, test.balanced, context_size=settings.context_size)
    return _ProbedPair(drawn, probes, probes.logits(test_x), labels, ratios, numbers, settings.rules)


@dataclass(frozen=True)
class _ProbedPair:
    """One seed's pair with the model's probes and their logits on the balanced test texts."""

    drawn: _DrawnPair
    probes: LinearProbes
    logits: Float[Tensor, "texts probes"]
    labels: dict[int, np.ndarray]
    """Whether each test text is on the positive side, by probe."""
    ratios: Tensor | None
    """Padding of the test texts; None where it is not ablated."""
    numbers: tuple[int, ...]
    """How many latents are ablated."""
    rules: Rules

    def model_hits(self) -> PairProbes:
        """Which test texts the model's probes get right."""
        predicted = (self.logits > 0).cpu().numpy()
        clean = {d: (predicted[:, probe] == self.labels[probe]).astype(np.float64) for d, probe in _WANTED.items()}
        biased = {d: (predicted[:, BIASED] == self.labels[probe]).astype(np.float64) for d, probe in _WANTED.items()}
        return PairProbes(clean, biased, self.drawn.balanced[len(self.drawn.train.balanced) :])

    def ablated_hits(self, sae: Sae, codes: Rows) -> AblatedHits:
        """Which test texts the biased probe gets right after either ablation; `codes` are of the texts of all seeds."""
        train, test = torch.from_numpy(self.drawn.balanced).tensor_split([len(self.drawn.train.balanced)])
        train_codes, test_codes = take_rows(codes, train), take_rows(codes, test)
        if self.ratios is not None:
            test_codes = with_padding(sae, test_codes, self.ratios)
        directions = atom_products(sae.W_dec, self.probes.weights)
        means = class_means(train_codes, self.drawn.train.tasks().to(train_codes.device))
        effects = removal_effects(means, directions[:, [GROUP, CLASS]])
        hits = {}
        for direction, ablated in _ABLATED.items():
            chosen = choose_latents(effects[ablated], self.numbers, self.rules)
            logits = ablated_logits(test_codes, directions[:, [BIASED]], self.logits[:, [BIASED]], chosen)[..., 0]
            right = (logits > 0).cpu().numpy() == self.labels[_WANTED[direction]]
            hits[direction] = np.where(logits.isnan().cpu().numpy(), np.nan, right)
        return hits


def _ablate(attempt: Attempt, codes: dict[Attempt, Rows], probed: Mapping[int, _ProbedPair]) -> dict[int, AblatedHits]:
    """Each seed's hits; takes the SAE's codes out of `codes` to free their memory."""
    pooled = codes.pop(attempt)
    return {seed: pair.ablated_hits(attempt.sae, pooled) for seed, pair in probed.items()}
