"""The passes of targeted probe perturbation: each text is read once, and encoded once by each SAE."""

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
from sae_research.evals.tpp.report import SetScores, TppHits, score_set, tpp_output
from sae_research.evals.tpp.settings import TppSettings
from sae_research.probes.ablation import ablated_logits, choose_latents, class_means, targeted_effects
from sae_research.probes.draws import keyed_generator
from sae_research.probes.sae_bench import LinearProbes, SaeBenchRecipe
from sae_research.saes.base import Sae

# Mean codes of all texts of a data set, over the SAEs of a group; a further group reads the texts again.
_MEMORY = 4 * 2**30


def measure_tpp(
    context: EvalContext,
    saes: Sequence[Sae],
    sets: Sequence[LabelledSet],
    settings: TppSettings,
    recipe: SaeBenchRecipe | None = None,
) -> Iterator[Outcome]:
    """The outcome of every SAE (all at one site) on the given data sets; `recipe` is that of SAEBench's probes."""
    recipe = recipe or SaeBenchRecipe()
    attempts = [Attempt(sae) for sae in saes]
    scores: dict[Attempt, list[SetScores]] = {attempt: [] for attempt in attempts}
    width = context.lm.width(saes[0].card.site)
    with torch.no_grad():
        for labelled, draws in zip(sets, _draw(context, sets, settings, recipe, width), strict=True):
            for attempt, hits in _read_set(context, attempts, labelled, draws, settings, recipe):
                own = attempt.do(score_set, labelled, hits, settings.n_values)
                if own is not None:
                    scores[attempt].append(own)
    for attempt in attempts:
        yield attempt.finish(lambda own=attempt: tpp_output(own.sae, scores[own], settings.n_values))


def _draw(
    context: EvalContext, sets: Sequence[LabelledSet], settings: TppSettings, recipe: SaeBenchRecipe, width: int
) -> list[TppDraws]:
    keyed = [draw_keyed(labelled, ("tpp", context.seed, labelled.name)) for labelled in sets]
    if settings.sampling == "keyed":
        return keyed
    return draw_as_sae_bench(sets, keyed, SaeBenchRun(context.seed, len(settings.n_values), recipe, width))


def _read_set(
    context: EvalContext, attempts: Sequence[Attempt], labelled: LabelledSet, draws: TppDraws, settings: TppSettings,
    recipe: SaeBenchRecipe,
) -> Iterator[tuple[Attempt, TppHits]]:  # fmt: skip
    """What the probes get right of one data set, before and after each SAE's ablations."""
    texts = list(chain(*labelled.train.values(), *labelled.test.values()))
    site = attempts[0].sae.card.site
    subject: _Subject | None = None
    for group in group_by_memory(attempts, len(texts), limit_bytes=_MEMORY):
        context.progress.expect(len(texts))
        channels, codes = pool_texts(context, group, texts, site=site, context_size=settings.context_size)
        if subject is None:
            subject = _Subject.of(context, labelled, channels, draws, settings, recipe)
        yield from do_each(context.lm.device, list(codes), subject.ablate, codes).items()


@dataclass(frozen=True)
class _Subject:
    """One data set as the model reads it: its probes, and their logits on the test texts."""

    settings: TppSettings
    draws: TppDraws
    probes: LinearProbes
    logits: Float[Tensor, "texts classes"]
    labels: Bool[Tensor, "texts classes"]
    order: Tensor
    """Test texts in the order of what is reported: neighbours have nothing in common."""
    ratios: Tensor | None

    @classmethod
    def of(
        cls, context: EvalContext, labelled: LabelledSet, channels: Tensor, draws: TppDraws, settings: TppSettings,
        recipe: SaeBenchRecipe,
    ) -> _Subject:  # fmt: skip
        cut = draws.tasks.train.n
        probes = fit_probes(channels[:cut], channels[cut:], draws, recipe)
        texts = list(chain(*labelled.test.values()))
        ratios = padding_ratios(context.lm, texts, context_size=settings.context_size)
        classes = torch.arange(len(labelled.test)).repeat_interleave(len(texts) // len(labelled.test))
        order = keyed_generator("tpp", context.seed, labelled.name, "order").permutation(len(texts))
        return cls(
            settings, draws, probes, probes.logits(channels[cut:]),
            classes[:, None] == torch.arange(len(labelled.test)), torch.from_numpy(order),
            ratios if settings.rules == "sae_bench" else None,
        )  # fmt: skip

    def ablate(self, attempt: Attempt, codes: dict[Attempt, Tensor]) -> TppHits:
        """What every probe gets right, before and after the ablations; takes the SAE's codes."""
        cut, sae = self.draws.tasks.train.n, attempt.sae
        seen, asked = codes.pop(attempt).tensor_split([cut])
        if self.ratios is not None:
            asked = with_padding(sae, asked, self.ratios)
        directions = sae.W_dec.double() @ self.probes.weights.double().T
        means = class_means(seen, self.draws.effects.to(seen.device))
        effects = targeted_effects(means, directions, self.settings.rules)
        after = [self._after(asked, directions, own) for own in effects]
        # (texts, ablated, n, classes)
        logits = torch.stack(after).permute(2, 0, 1, 3).cpu()[self.order]
        labels = self.labels[self.order]
        return TppHits(
            clean=((self.logits.cpu()[self.order] > 0) == labels).numpy(),
            ablated=((logits > 0) == labels[:, None, None]).numpy(),
            counts_clean=self.draws.clean[self.order].numpy(),
            counts_ablated=self.draws.ablated[self.order].numpy(),
            possible=tuple(not bool(logits[:, 0, i].isnan().any()) for i in range(logits.shape[2])),
        )

    def _after(self, codes: Tensor, directions: Tensor, effects: Tensor) -> Tensor:
        chosen = choose_latents(effects, self.settings.n_values, self.settings.rules)
        return ablated_logits(codes, directions, self.logits, chosen)
