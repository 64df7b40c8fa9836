"""Targeted probe perturbation: each text is read once, encoded once by each SAE, and ablated in closed form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sae_research.data.labelled import LabelledSet
from sae_research.evals.base import EvalContext, Outcome
from sae_research.evals.shared.ablation_settings import ablations_of
from sae_research.evals.shared.attempts import Attempt, do_each
from sae_research.evals.shared.padding import padding_ratios, with_padding
from sae_research.evals.shared.pooling import pool_in_groups
from sae_research.evals.shared.seeds import number_texts
from sae_research.evals.tpp.probes import SaeBenchRun, TppDraws, draw_as_sae_bench, draw_keyed, fit_probes
from sae_research.evals.tpp.report import TppHits, TppScores, score_set, tpp_output
from sae_research.evals.tpp.settings import TppSettings
from sae_research.probes.ablation import ablated_logits, atom_products, choose_latents, class_means, targeted_effects
from sae_research.probes.draws import Rules
from sae_research.probes.sae_bench import LinearProbes, SaeBenchRecipe
from sae_research.probes.sparse_rows import Rows, take_rows
from sae_research.saes.base import Sae


def measure_tpp(
    context: EvalContext,
    saes: Sequence[Sae],
    sets: Mapping[int, Sequence[LabelledSet]],
    settings: TppSettings,
    recipe: SaeBenchRecipe | None = None,
) -> Iterator[Outcome]:
    """The outcome of every SAE (all at one site) on the data sets as each seed draws them; `recipe` trains SAEBench's
    probes."""
    recipe = recipe or SaeBenchRecipe()
    attempts, ablations = [Attempt(sae) for sae in saes], ablations_of(settings, saes[0].card.d_in)
    scores: dict[Attempt, list[TppScores]] = {attempt: [] for attempt in attempts}
    width = context.lm.width(saes[0].card.site)
    draws = {seed: _draw(of_seed, seed, settings, recipe, width) for seed, of_seed in sets.items()}
    with torch.no_grad():
        for index, labelled in enumerate(next(iter(sets.values()))):
            drawn = {seed: (of_seed[index], draws[seed][index]) for seed, of_seed in sets.items()}
            for attempt, hits in _measure_set(context, attempts, drawn, settings, recipe):
                set_scores = attempt.do(score_set, labelled, hits, ablations.numbers)
                if set_scores is not None:
                    scores[attempt].append(set_scores)
    for attempt in attempts:
        yield attempt.finish(lambda attempt=attempt: tpp_output(scores[attempt], ablations, settings.n_shares))


def _draw(
    sets: Sequence[LabelledSet], seed: int, settings: TppSettings, recipe: SaeBenchRecipe, width: int
) -> list[TppDraws]:
    """What one seed draws of each data set; `width` is that of the activations."""
    draws = [draw_keyed(labelled, ("tpp", seed, labelled.name)) for labelled in sets]
    if settings.sampling == "keyed":
        return draws
    return draw_as_sae_bench(sets, draws, SaeBenchRun(seed, len(settings.n_values), recipe, width))


def _measure_set(
    context: EvalContext, attempts: Sequence[Attempt], drawn: Mapping[int, tuple[LabelledSet, TppDraws]],
    settings: TppSettings, recipe: SaeBenchRecipe,
) -> Iterator[tuple[Attempt, dict[int, TppHits]]]:  # fmt: skip
    """By seed what the probes get right of one data set, before and after each SAE's ablations."""
    texts, places = number_texts(
        {seed: [*chain(*labelled.train.values(), *labelled.test.values())] for seed, (labelled, _) in drawn.items()}
    )
    site, context_size = attempts[0].sae.card.site, settings.context_size
    probed: dict[int, _ProbedSet] = {}
    for x, codes in pool_in_groups(context, attempts, texts, site=site, context_size=context_size, contributions=True):
        if not probed:
            probed = {
                seed: _probe_set(context, labelled, x, places[seed], draws, settings, recipe)
                for seed, (labelled, draws) in drawn.items()
            }
        yield from do_each(context.lm.device, list(codes), _ablate, codes, probed).items()


def _probe_set(
    context: EvalContext, labelled: LabelledSet, x: Tensor, places: np.ndarray, draws: TppDraws, settings: TppSettings,
    recipe: SaeBenchRecipe,
) -> _ProbedSet:  # fmt: skip
    """One seed's data set with its probes trained; `x` are the mean activations of the texts of all seeds."""
    n_train = draws.tasks.train.n
    train_x, test_x = x[torch.from_numpy(places).to(x.device)].tensor_split([n_train])
    probes = fit_probes(train_x, test_x, draws, recipe)
    test_texts = list(chain(*labelled.test.values()))
    classes = torch.arange(len(labelled.test)).repeat_interleave(len(test_texts) // len(labelled.test))
    ratios, numbers = None, ablations_of(settings, x.shape[1]).numbers
    if settings.rules == "sae_bench":
        ratios = padding_ratios(context.lm, test_texts, context_size=settings.context_size)
    labels = classes[:, None] == torch.arange(len(labelled.test))
    return _ProbedSet(draws, places, probes, probes.logits(test_x), labels, ratios, numbers, settings.rules)


@dataclass(frozen=True)
class _ProbedSet:
    """One seed's data set with a probe per class and their logits on the test texts."""

    draws: TppDraws
    places: np.ndarray
    """Of its texts among those of all seeds, training texts first."""
    probes: LinearProbes
    logits: Float[Tensor, "texts classes"]
    labels: Bool[Tensor, "texts classes"]
    ratios: Tensor | None
    """Padding of the test texts; None where it is not ablated."""
    numbers: tuple[int, ...]
    """How many latents are ablated."""
    rules: Rules

    def ablated_hits(self, sae: Sae, codes: Rows) -> TppHits:
        """What every probe gets right before and after the ablations; `codes` are of the texts of all seeds."""
        n_train = self.draws.tasks.train.n
        train, test = torch.from_numpy(self.places).tensor_split([n_train])
        train_codes, test_codes = take_rows(codes, train), take_rows(codes, test)
        if self.ratios is not None:
            test_codes = with_padding(sae, test_codes, self.ratios)
        directions = atom_products(sae.W_dec, self.probes.weights)
        means = class_means(train_codes, self.draws.effects.to(train_codes.device))
        after = []
        for effects in targeted_effects(means, directions, self.rules):
            chosen = choose_latents(effects, self.numbers, self.rules)
            after.append(ablated_logits(test_codes, directions, self.logits, chosen))
        # (ablated, n, texts, classes) -> (texts, ablated, n, classes)
        logits = torch.stack(after).permute(2, 0, 1, 3).cpu()
        return TppHits(
            clean=((self.logits.cpu() > 0) == self.labels).numpy(),
            ablated=((logits > 0) == self.labels[:, None, None]).numpy(),
            counts_clean=self.draws.clean.numpy(),
            counts_ablated=self.draws.ablated.numpy(),
            texts=self.places[n_train:],
            possible=tuple(not bool(logits[:, 0, i].isnan().any()) for i in range(logits.shape[2])),
        )


def _ablate(attempt: Attempt, codes: dict[Attempt, Rows], probed: Mapping[int, _ProbedSet]) -> dict[int, TppHits]:
    """Each seed's hits; takes the SAE's codes out of `codes` to free their memory."""
    pooled = codes.pop(attempt)
    return {seed: of_seed.ablated_hits(attempt.sae, pooled) for seed, of_seed in probed.items()}
