"""Unlearning: firing rates on two corpora, the questions that the model knows, and these under interventions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sae_research.data.draw import draw
from sae_research.evals.base import EvalContext, Outcome
from sae_research.evals.shared.attempts import Attempt, do_each
from sae_research.evals.unlearning.clamp import Clamping, answer_clamped, units
from sae_research.evals.unlearning.corpora import Corpus, load_corpus
from sae_research.evals.unlearning.firing import FiringRates, corpus_rows, count_firing, has_firing_rates
from sae_research.evals.unlearning.grid import Clamp, choose_latents
from sae_research.evals.unlearning.prompts import Prompt, PromptBatch, Prompter, batches, orders_of, right_answers
from sae_research.evals.unlearning.questions import Question, load_questions
from sae_research.evals.unlearning.report import ClampedAnswers, QuestionSet, unlearning_output
from sae_research.evals.unlearning.settings import UnlearningSettings
from sae_research.lm.site import Site
from sae_research.saes.base import Sae
from sae_research.saes.encoding import Encoder

_SHORTEST = 50
"""Corpus texts must have more characters than this, as in SAEBench."""
_TOKENS_PER_SEQUENCE = 128
"""The tokens of a sequence that `batch_size` is meant for; prompts are shorter."""


@dataclass(frozen=True)
class UnlearningInputs:
    """The texts and questions that the model reads."""

    forget_rows: Int[Tensor, "row position"]
    retain_rows: Int[Tensor, "row position"]
    questions: QuestionSet


def load_inputs(context: EvalContext, settings: UnlearningSettings) -> UnlearningInputs:
    """Corpora as token rows, and all questions; loaded before any pass of the model."""

    def rows(texts: Sequence[str], corpus: Corpus) -> Tensor:
        return corpus_rows(
            texts, context.lm.tokenizer, context_size=settings.context_size, n_rows=settings.n_rows,
            key=(corpus.dataset, context.seed),
        )  # fmt: skip

    forget, retain = settings.forget_corpus, settings.retain_corpus
    forget_texts = load_corpus(context.hub, forget, shortest=_SHORTEST)
    forget_texts = draw(forget_texts, settings.n_rows, "documents", forget.dataset, context.seed)
    retain_texts = load_corpus(context.hub, retain, shortest=_SHORTEST)
    return UnlearningInputs(
        rows(forget_texts, forget), rows(retain_texts, retain), _load_question_set(context, settings)
    )


def _load_question_set(context: EvalContext, settings: UnlearningSettings) -> QuestionSet:
    questions: list[Question] = []
    is_forget: list[bool] = []
    selects: list[bool] = []
    for source in (settings.forget_questions, settings.harmless_questions):
        halves = load_questions(context.hub, source, seed=context.seed)
        for half, of_selecting_half in ((halves.select, True), (halves.report, False)):
            questions += half
            is_forget += [source is settings.forget_questions] * len(half)
            selects += [of_selecting_half] * len(half)
    in_first = np.array(selects, dtype=bool)
    both = settings.select_on == "same_questions"
    return QuestionSet(questions, np.array(is_forget, dtype=bool), selects=in_first | both, reports=~in_first | both)


def measure_unlearning(
    context: EvalContext, saes: Sequence[Sae], inputs: UnlearningInputs, settings: UnlearningSettings
) -> Iterator[Outcome]:
    """The outcome of every SAE (all at one site)."""
    attempts = [Attempt(sae) for sae in saes]
    site = saes[0].card.site
    prompter = Prompter(context.lm.tokenizer, settings.prompt_format, settings.protocol)
    answers: dict[Attempt, ClampedAnswers] = {}
    with torch.no_grad():
        known = find_known(context, site, inputs.questions, prompter, required_orders=settings.required_orders)
        if known.missing_reason is None:
            firing = [attempt for attempt in attempts if has_firing_rates(attempt.sae)]
            clampings = _choose_clampings(context, firing, site, inputs, settings) if firing else {}
            answers = _answer_known(context, site, known, prompter, clampings, settings)
    for attempt in attempts:
        yield attempt.finish(partial(unlearning_output, answers.get(attempt), known, settings))


def find_known(
    context: EvalContext, site: Site, questions: QuestionSet, prompter: Prompter, *, required_orders: int
) -> QuestionSet:
    """The questions that the unmodified model answers correctly in every required order of their options."""
    orders = [orders_of(len(q.choices), required_orders) for q in questions.questions]
    known = list(range(len(orders)))
    for place in range(max(map(len, orders), default=0)):
        asked = [i for i in known if place < len(orders[i])]
        prompts = prompter.prompts([questions.questions[i].in_order(orders[i][place]) for i in asked])
        right = dict(zip(asked, _ask(context, site, prompts, prompter), strict=True))
        known = [i for i in known if right.get(i, True)]
    return questions.only(known)


def _ask(context: EvalContext, site: Site, prompts: Sequence[Prompt], prompter: Prompter) -> list[bool]:
    """Whether the unmodified model answers each prompt correctly."""
    lm = context.lm
    right = torch.zeros(len(prompts), dtype=torch.bool)
    context.progress.expect(len(prompts))
    for batch in _batches(context, prompts):
        hidden = lm.resume(site, lm.capture(batch.tokens, site), batch.tokens)
        right[batch.places.cpu()] = right_answers(lm, hidden, batch, prompter.protocol).cpu()
        context.progress.advance(len(batch.answers), doing="questions that the model knows")
    return right.tolist()


def _batches(context: EvalContext, prompts: Sequence[Prompt]) -> Iterator[PromptBatch]:
    pad = int(context.lm.tokenizer.pad_token_id)  # type: ignore[arg-type]
    for batch in batches(prompts, pad=pad, tokens_at_once=_tokens_at_once(context)):
        yield batch.to(context.lm.device)


def _tokens_at_once(context: EvalContext) -> int:
    return context.batch_size * _TOKENS_PER_SEQUENCE


def _choose_clampings(
    context: EvalContext, attempts: Sequence[Attempt], site: Site, inputs: UnlearningInputs,
    settings: UnlearningSettings,
) -> dict[Attempt, Clamping]:  # fmt: skip
    """The interventions of each SAE, from firing rates on both corpora."""
    context.progress.expect(len(inputs.forget_rows) + len(inputs.retain_rows))
    forget = count_firing(context, attempts, site, inputs.forget_rows)
    retain = count_firing(context, attempts, site, inputs.retain_rows)

    def choose(attempt: Attempt, forget: FiringRates, retain: FiringRates) -> Clamping:
        chosen = choose_latents(
            forget.rates[attempt],
            retain.rates[attempt],
            thresholds=settings.retain_thresholds,
            numbers=settings.n_latents,
        )
        unit = units(attempt.sae, chosen, retain.mean_norm, scaled=settings.multiplier_unit == "scaled")
        multipliers = torch.tensor(settings.multipliers, dtype=torch.float32, device=unit.device)
        return Clamping(Encoder(attempt.sae, attempt.supports), chosen, multipliers[:, None] * unit)

    clampings = {attempt: attempt.do(choose, attempt, forget, retain) for attempt in attempts}
    return {attempt: clamping for attempt, clamping in clampings.items() if clamping is not None}


def _answer_known(
    context: EvalContext, site: Site, known: QuestionSet, prompter: Prompter, clampings: Mapping[Attempt, Clamping],
    settings: UnlearningSettings,
) -> dict[Attempt, ClampedAnswers]:  # fmt: skip
    """The known questions under every intervention: the share of `asked_orders` orders that stays right."""
    orders = [orders_of(len(q.choices), settings.required_orders) for q in known.questions]
    n_orders = min(settings.asked_orders, max(map(len, orders)))
    questions = [
        question.in_order(of_question[place % len(of_question)])
        for place in range(n_orders)
        for question, of_question in zip(known.questions, orders, strict=True)
    ]
    answers = {}
    for attempt, right in ask_clamped(context, site, questions, prompter, clampings).items():
        shares = right.double().view(n_orders, -1, *right.shape[1:]).mean(dim=0).numpy()
        grid = product(settings.retain_thresholds, settings.n_latents, enumerate(settings.multipliers))
        chosen = clampings[attempt].chosen
        answers[attempt] = ClampedAnswers(
            shares={
                Clamp(threshold, n, multiplier): shares[:, chosen.set_of[threshold, n], place]
                for threshold, n, (place, multiplier) in grid
            },
            latents={key: chosen.latents[chosen.sets[index]].tolist() for key, index in chosen.set_of.items()},
        )
    return answers


def ask_clamped(
    context: EvalContext, site: Site, questions: Sequence[Question], prompter: Prompter,
    clampings: Mapping[Attempt, Clamping],
) -> dict[Attempt, Bool[Tensor, "question set multiplier"]]:  # fmt: skip
    """By SAE, whether each of `questions` stays right under each set of latents and multiplier."""
    lm = context.lm
    prompts = prompter.prompts(questions)
    right = {
        attempt: torch.ones(len(questions), len(clamping.chosen.sets), len(clamping.levels), dtype=torch.bool)
        for attempt, clamping in clampings.items()
    }

    def answer(attempt: Attempt, batch: PromptBatch, x: Tensor) -> Tensor:
        return answer_clamped(
            lm, site, batch, x, clampings[attempt], prompter.protocol, tokens_at_once=_tokens_at_once(context)
        )

    context.progress.expect(len(prompts))
    for batch in _batches(context, prompts):
        x = lm.capture(batch.tokens, site)
        for attempt, of_batch in do_each(lm.device, clampings, answer, batch, x).items():
            right[attempt][batch.places.cpu()] = of_batch.cpu()
        context.progress.advance(len(batch.answers), doing=f"{len(clampings)} SAEs at {site.hook_name}")
    return {attempt: of_sae for attempt, of_sae in right.items() if attempt.error is None}
