"""The passes of unlearning: corpora for firing rates, questions that the model knows, questions under interventions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from sae_research.data.draw import draw
from sae_research.evals.base import EvalContext, Outcome
from sae_research.evals.shared.attempts import Attempt, do_each
from sae_research.evals.unlearning.clamp import Clamping, answer_clamped, units
from sae_research.evals.unlearning.corpora import Corpus, load_corpus
from sae_research.evals.unlearning.firing import FiringRates, corpus_rows, count_firing
from sae_research.evals.unlearning.grid import Clamp, choose_latents
from sae_research.evals.unlearning.prompts import (
    Prompt,
    PromptBatch,
    Prompter,
    batches,
    orders_of,
    right_answers,
)
from sae_research.evals.unlearning.questions import Question, load_questions
from sae_research.evals.unlearning.report import Answers, QuestionSet, unlearning_output
from sae_research.evals.unlearning.settings import UnlearningSettings
from sae_research.lm.site import Site
from sae_research.saes.base import Sae
from sae_research.saes.encoding import Encoder

_SHORTEST = 50
"""Characters that a corpus text must exceed, as in SAEBench."""
_TOKENS_PER_SEQUENCE = 128
"""What `batch_size` counts: prompts are shorter than the sequences that it is set for."""


@dataclass(frozen=True)
class UnlearningSubject:
    """What the model reads, all of it loaded before any pass."""

    forget_rows: Int[Tensor, "row position"]
    retain_rows: Int[Tensor, "row position"]
    questions: QuestionSet


def load_subject(context: EvalContext, settings: UnlearningSettings) -> UnlearningSubject:
    """Corpora as token rows, and all questions."""
    forget_texts = load_corpus(context.hub, settings.forget_corpus, shortest=_SHORTEST)
    key = (settings.forget_corpus.dataset, context.seed)
    forget_texts = draw(forget_texts, settings.n_rows, "documents", *key)
    retain_texts = load_corpus(context.hub, settings.retain_corpus, shortest=_SHORTEST)
    return UnlearningSubject(
        _rows(context, settings, forget_texts, settings.forget_corpus),
        _rows(context, settings, retain_texts, settings.retain_corpus),
        _load_questions(context, settings),
    )


def _rows(context: EvalContext, settings: UnlearningSettings, texts: Sequence[str], corpus: Corpus) -> Tensor:
    return corpus_rows(
        texts, context.lm.tokenizer, context_size=settings.context_size, n_rows=settings.n_rows,
        key=(corpus.dataset, context.seed),
    )  # fmt: skip


def _load_questions(context: EvalContext, settings: UnlearningSettings) -> QuestionSet:
    found = [
        (question, source is settings.forget_questions, selects)
        for source in (settings.forget_questions, settings.harmless_questions)
        for own, selects in zip(load_questions(context.hub, source, seed=context.seed), (True, False), strict=True)
        for question in own
    ]
    selects = np.array([selects for _, _, selects in found], dtype=bool)
    both = settings.select_on == "same_questions"
    return QuestionSet(
        [question for question, _, _ in found],
        np.array([is_forget for _, is_forget, _ in found], dtype=bool),
        selects | both,
        ~selects | both,
    )


def measure_unlearning(
    context: EvalContext, saes: Sequence[Sae], subject: UnlearningSubject, settings: UnlearningSettings
) -> Iterator[Outcome]:
    """The outcome of every SAE (all at one site)."""
    attempts = [Attempt(sae) for sae in saes]
    site = saes[0].card.site
    answers: dict[Attempt, Answers] = {}
    with torch.no_grad():
        known = find_known(context, site, subject.questions, settings)
        if known.lacking is None:
            answers = _Run(context, attempts, site, settings).answers(subject, known)
    for attempt in attempts:
        yield attempt.finish(partial(unlearning_output, answers.get(attempt), known, settings))


def find_known(context: EvalContext, site: Site, asked: QuestionSet, settings: UnlearningSettings) -> QuestionSet:
    """The questions that the unmodified model answers rightly in every required order."""
    prompter = _prompter(context, settings)
    orders = [orders_of(len(q.choices), settings.required_orders) for q in asked.questions]
    known = list(range(len(orders)))
    for place in range(max(map(len, orders), default=0)):
        due = [i for i in known if place < len(orders[i])]
        prompts = prompter.prompts([asked.questions[i].in_order(orders[i][place]) for i in due])
        right = dict(zip(due, _right(context, site, prompts, settings), strict=True))
        known = [i for i in known if right.get(i, True)]
    return asked.only(known)


def _prompter(context: EvalContext, settings: UnlearningSettings) -> Prompter:
    return Prompter(context.lm.tokenizer, settings.prompt_format, settings.protocol)


def _right(context: EvalContext, site: Site, prompts: Sequence[Prompt], settings: UnlearningSettings) -> list[bool]:
    """Whether the unmodified model answers each prompt rightly."""
    lm = context.lm
    found = torch.zeros(len(prompts), dtype=torch.bool)
    context.progress.expect(len(prompts))
    for batch in _batches(context, prompts):
        hidden = lm.resume(site, lm.capture(batch.tokens, site), batch.tokens)
        found[batch.places.cpu()] = right_answers(lm, hidden, batch, settings.protocol).cpu()
        context.progress.advance(len(batch.answers), doing="questions that the model knows")
    return found.tolist()


def _batches(context: EvalContext, prompts: Sequence[Prompt]) -> Iterator[PromptBatch]:
    pad = int(context.lm.tokenizer.pad_token_id)  # type: ignore[arg-type]
    for batch in batches(prompts, pad=pad, tokens_at_once=_tokens_at_once(context)):
        yield batch.to(context.lm.device)


def _tokens_at_once(context: EvalContext) -> int:
    return context.batch_size * _TOKENS_PER_SEQUENCE


class _Run:
    """The interventions of all SAEs at a site."""

    def __init__(
        self, context: EvalContext, attempts: Sequence[Attempt], site: Site, settings: UnlearningSettings
    ) -> None:
        self.context, self.attempts, self.site, self.settings = context, attempts, site, settings

    def answers(self, subject: UnlearningSubject, known: QuestionSet) -> dict[Attempt, Answers]:
        """What each SAE's interventions leave of the questions that count."""
        self.context.progress.expect(len(subject.forget_rows) + len(subject.retain_rows))
        forget = count_firing(self.context, self.attempts, self.site, subject.forget_rows)
        retain = count_firing(self.context, self.attempts, self.site, subject.retain_rows)
        clampings: dict[Attempt, Clamping] = {}
        for attempt in self.attempts:
            clamping = attempt.do(self._clamping, attempt, forget, retain)
            if clamping is not None:
                clampings[attempt] = clamping
        orders = [orders_of(len(q.choices), self.settings.required_orders) for q in known.questions]
        n_orders = min(self.settings.asked_orders, max(map(len, orders)))
        asked = [
            question.in_order(own[place % len(own)])
            for place in range(n_orders)
            for question, own in zip(known.questions, orders, strict=True)
        ]
        hits = self._ask(asked, clampings)
        return {attempt: self._gathered(clampings[attempt], own, n_orders) for attempt, own in hits.items()}

    def _clamping(self, attempt: Attempt, forget: FiringRates, retain: FiringRates) -> Clamping:
        sae, settings = attempt.sae, self.settings
        chosen = choose_latents(
            forget.rates[attempt],
            retain.rates[attempt],
            thresholds=settings.retain_thresholds,
            numbers=settings.n_latents,
        )
        unit = units(sae, chosen, retain.mean_norm, scaled=settings.multiplier_unit == "scaled")
        multipliers = torch.tensor(settings.multipliers, dtype=torch.float32, device=unit.device)
        return Clamping(Encoder(sae), chosen, multipliers[:, None] * unit)

    def _ask(self, asked: Sequence[Question], clampings: dict[Attempt, Clamping]) -> dict[Attempt, Tensor]:
        """By SAE whether each of `asked` stays right under each set and multiplier."""
        context, lm = self.context, self.context.lm
        prompts = _prompter(context, self.settings).prompts(asked)
        hits = {
            attempt: torch.ones(len(asked), len(own.chosen.sets), len(own.levels), dtype=torch.bool)
            for attempt, own in clampings.items()
        }
        context.progress.expect(len(prompts))
        for batch in _batches(context, prompts):
            x = lm.capture(batch.tokens, self.site)
            right = do_each(lm.device, clampings, self._answer, batch, x, clampings)
            for attempt, own in right.items():
                hits[attempt][batch.places.cpu()] = own.cpu()
            context.progress.advance(len(batch.answers), doing=f"{len(clampings)} SAEs at {self.site.hook_name}")
        return {attempt: own for attempt, own in hits.items() if attempt.error is None}

    def _answer(self, attempt: Attempt, batch: PromptBatch, x: Tensor, clampings: Mapping[Attempt, Clamping]) -> Tensor:
        return answer_clamped(
            self.context.lm, self.site, batch, x, clampings[attempt], self.settings.protocol,
            tokens_at_once=_tokens_at_once(self.context),
        )  # fmt: skip

    def _gathered(self, clamping: Clamping, hits: Tensor, n_orders: int) -> Answers:
        """Shares of orders answered rightly, by intervention."""
        shares = hits.double().view(n_orders, -1, *hits.shape[1:]).mean(dim=0).numpy()
        grid = product(self.settings.retain_thresholds, self.settings.n_latents, enumerate(self.settings.multipliers))
        chosen = clamping.chosen
        return Answers(
            shares={
                Clamp(threshold, n, multiplier): shares[:, chosen.set_of[threshold, n], place]
                for threshold, n, (place, multiplier) in grid
            },
            latents={key: chosen.latents[chosen.sets[own]].tolist() for key, own in chosen.set_of.items()},
        )
