"""Targeted probe perturbation: each text is read once, encoded once by each SAE, and ablated in closed form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sae_research.data.labelled import LabelledSet
from sae_research.evals.base import EvalContext, Outcome
from sae_research.evals.shared.attempts import Attempt, do_each
from sae_research.evals.shared.padding import padding_ratios, with_padding
from sae_research.evals.shared.pooling import group_by_memory, pool_texts
from sae_research.evals.tpp.probes import SaeBenchRun, TppDraws, draw_as_sae_bench, draw_keyed, fit_probes
from sae_research.evals.tpp.report import TppHits, TppScores, score_set, tpp_output
from sae_research.evals.tpp.settings import TppSettings
from sae_research.probes.ablation import ablated_logits, choose_latents, class_means, targeted_effects
from sae_research.probes.draws import Rules, keyed_generator
from sae_research.probes.sae_bench import LinearProbes, SaeBenchRecipe
from sae_research.saes.base import Sae

# Bytes of mean codes, over all texts of a data set and the SAEs of a group; each group reads the texts again.
_MEMORY = 4 * 2**30


def measure_tpp(
    context: EvalContext,
    saes: Sequence[Sae],
    sets: Sequence[LabelledSet],
    settings: TppSettings,
    recipe: SaeBenchRecipe | None = None,
) -> Iterator[Outcome]:
    """The outcome of every SAE (all at one site) on the given data sets; `recipe` trains SAEBench's probes."""
    recipe = recipe or SaeBenchRecipe()
    attempts = [Attempt(sae) for sae in saes]
    scores: dict[Attempt, list[TppScores]] = {attempt: [] for attempt in attempts}
    draws = [draw_keyed(labelled, ("tpp", context.seed, labelled.name)) for labelled in sets]
    if settings.sampling == "sae_bench":
        width = context.lm.width(saes[0].card.site)
        draws = draw_as_sae_bench(sets, draws, SaeBenchRun(context.seed, len(settings.n_values), recipe, width))
    with torch.no_grad():
        for labelled, set_draws in zip(sets, draws, strict=True):
            for attempt, hits in _measure_set(context, attempts, labelled, set_draws, settings, recipe):
                set_scores = attempt.do(score_set, labelled, hits, settings.n_values)
                if set_scores is not None:
                    scores[attempt].append(set_scores)
    for attempt in attempts:
        yield attempt.finish(lambda attempt=attempt: tpp_output(scores[attempt], settings.n_values))


def _measure_set(
    context: EvalContext, attempts: Sequence[Attempt], labelled: LabelledSet, draws: TppDraws, settings: TppSettings,
    recipe: SaeBenchRecipe,
) -> Iterator[tuple[Attempt, TppHits]]:  # fmt: skip
    """The hits of the probes on one data set, before and after each SAE's ablations."""
    texts = list(chain(*labelled.train.values(), *labelled.test.values()))
    site, context_size = attempts[0].sae.card.site, settings.context_size
    probed: _ProbedSet | None = None
    for group in group_by_memory(attempts, len(texts), limit_bytes=_MEMORY):
        context.progress.expect(len(texts))
        x, codes = pool_texts(context, group, texts, site=site, context_size=context_size)
        if probed is None:
            probed = _probe_set(context, labelled, x, draws, settings, recipe)
        yield from do_each(context.lm.device, list(codes), probed.ablate, codes).items()


def _probe_set(
    context: EvalContext, labelled: LabelledSet, x: Tensor, draws: TppDraws, settings: TppSettings,
    recipe: SaeBenchRecipe,
) -> _ProbedSet:  # fmt: skip
    """The data set with its probes trained; `x` are the mean activations of training texts, then test texts."""
    n_train = draws.tasks.train.n
    probes = fit_probes(x[:n_train], x[n_train:], draws, recipe)
    test_texts = list(chain(*labelled.test.values()))
    classes = torch.arange(len(labelled.test)).repeat_interleave(len(test_texts) // len(labelled.test))
    order = keyed_generator("tpp", context.seed, labelled.name, "order").permutation(len(test_texts))
    ratios = None
    if settings.rules == "sae_bench":
        ratios = padding_ratios(context.lm, test_texts, context_size=settings.context_size)
    labels = classes[:, None] == torch.arange(len(labelled.test))
    return _ProbedSet(
        draws, probes, probes.logits(x[n_train:]), labels, torch.from_numpy(order), ratios, settings.n_values,
        settings.rules,
    )  # fmt: skip


@dataclass(frozen=True)
class _ProbedSet:
    """One data set with a probe per class and their logits on the test texts."""

    draws: TppDraws
    probes: LinearProbes
    logits: Float[Tensor, "texts classes"]
    labels: Bool[Tensor, "texts classes"]
    order: Tensor
    """The test texts in a random order: each replicate leaves out one run of them."""
    ratios: Tensor | None
    """Padding of the test texts; None where it is not ablated."""
    n_values: tuple[int, ...]
    rules: Rules

    def ablate(self, attempt: Attempt, codes: dict[Attempt, Tensor]) -> TppHits:
        """The hits of every probe before and after the ablations; takes the SAE's codes out of `codes`."""
        sae = attempt.sae
        train_codes, test_codes = codes.pop(attempt).tensor_split([self.draws.tasks.train.n])
        if self.ratios is not None:
            test_codes = with_padding(sae, test_codes, self.ratios)
        directions = sae.W_dec.double() @ self.probes.weights.double().T
        means = class_means(train_codes, self.draws.effects.to(train_codes.device))
        after = []
        for effects in targeted_effects(means, directions, self.rules):
            chosen = choose_latents(effects, self.n_values, self.rules)
            after.append(ablated_logits(test_codes, directions, self.logits, chosen))
        # (ablated, n, texts, classes) -> (texts, ablated, n, classes)
        logits = torch.stack(after).permute(2, 0, 1, 3).cpu()[self.order]
        labels = self.labels[self.order]
        return TppHits(
            clean=((self.logits.cpu()[self.order] > 0) == labels).numpy(),
            ablated=((logits > 0) == labels[:, None, None]).numpy(),
            counts_clean=self.draws.clean[self.order].numpy(),
            counts_ablated=self.draws.ablated[self.order].numpy(),
            possible=tuple(not bool(logits[:, 0, i].isnan().any()) for i in range(logits.shape[2])),
        )
