"""The rounds of autointerp: examples, explanations, and what a judge reads off the right one and off another one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from sae_research.evals.autointerp.latents import JudgedLatent
from sae_research.evals.autointerp.report import autointerp_output
from sae_research.evals.autointerp.settings import AutointerpSettings
from sae_research.evals.base import EvalContext, Outcome
from sae_research.evals.judged.controls import others
from sae_research.evals.judged.counts import Counts
from sae_research.evals.judged.examples import Examples, find_examples
from sae_research.evals.judged.gate import fitness_to_detect, quiz_of, to_explain
from sae_research.evals.judged.panel import Panel, open_panel
from sae_research.evals.shared.attempts import Attempt
from sae_research.evals.windows.firings import candidate_latents
from sae_research.judges import prompts
from sae_research.judges.records import Request, Unanswered
from sae_research.judges.replies import read_explanation, read_numbers
from sae_research.saes.base import Sae

Latents = dict[Attempt, list[JudgedLatent]]
"""By SAE those that the judge is asked about, in their drawn order."""
_COUNTS = Counts()


def measure_autointerp(context: EvalContext, saes: Sequence[Sae], settings: AutointerpSettings) -> Iterator[Outcome]:
    """The outcome of every SAE; all are at one site."""
    panel = open_panel(context, settings)
    attempts = [Attempt(sae) for sae in saes]
    examples = find_examples(context, attempts, settings, _COUNTS)
    fitness = fitness_to_detect(
        panel, examples, settings, explaining=settings.explaining, scoring=settings.scoring, seed=context.seed,
        counts=_COUNTS,
    )  # fmt: skip
    latents, passed_over = _latents(examples, seed=context.seed), _passed_over(examples, seed=context.seed)
    if fitness.unfit is None:
        latents = _detect(panel, _explain(panel, examples, latents, settings), settings)
    else:
        latents = {a: [replace(latent, reason=fitness.unfit) for latent in of_sae] for a, of_sae in latents.items()}
    for attempt in attempts:
        yield attempt.finish(
            lambda attempt=attempt: autointerp_output(
                latents[attempt], passed_over[attempt], fitness, settings, panel.record(attempt)
            )
        )


def _latents(examples: Examples, *, seed: int) -> Latents:
    """With their windows, and nothing that a judge said."""
    by_sae: Latents = {}
    for attempt, found in examples.by_sae.items():
        places = _places(attempt, seed)
        by_sae[attempt] = [
            JudgedLatent(
                latent.latent, places[latent.latent], latent.density, latent.largest, latent.firings.sign,
                quiz=quiz_of(examples, latent, seed=seed),
            )
            for latent in found.latents
        ]  # fmt: skip
    return by_sae


def _passed_over(examples: Examples, *, seed: int) -> Latents:
    by_sae: Latents = {}
    for attempt, found in examples.by_sae.items():
        places = _places(attempt, seed)
        by_sae[attempt] = [
            JudgedLatent(one.latent, places[one.latent], one.density, one.largest, one.sign, reason=one.reason)
            for one in found.passed_over
        ]
    return by_sae


def _places(attempt: Attempt, seed: int) -> Mapping[int, int]:
    d_sae = attempt.sae.card.d_sae
    return {int(latent): place for place, latent in enumerate(candidate_latents(d_sae, d_sae, seed=seed))}


def _explain(panel: Panel, examples: Examples, latents: Latents, settings: AutointerpSettings) -> Latents:
    """The latents with their explanations, or with the reason why there is none."""
    requests = {
        attempt: [
            settings.explaining.request(prompts.explaining(to_explain(examples, latent))) for latent in found.latents
        ]
        for attempt, found in examples.by_sae.items()
    }
    answers = panel.ask(requests, read_explanation, reminder=prompts.EXPLAIN_AGAIN)
    return {
        attempt: [
            _explained(latent, explanation, panel.digest(request))
            for latent, explanation, request in zip(latents[attempt], of_sae, requests[attempt], strict=True)
        ]
        for attempt, of_sae in answers.items()
    }


def _explained(latent: JudgedLatent, explanation: str | Unanswered, digest: str) -> JudgedLatent:
    latent = replace(latent, digests={"explanation": digest})
    if isinstance(explanation, Unanswered):
        return replace(latent, reason=f"no explanation: {explanation.reason}")
    return replace(latent, explanation=explanation)


def _detect(panel: Panel, latents: Latents, settings: AutointerpSettings) -> Latents:
    """The latents with what the judge predicts of their windows, from their own explanation and from another one's."""
    quizzed = {attempt: _pairs(of_sae) for attempt, of_sae in latents.items()}
    requests = {
        attempt: [_question(latents[attempt][i], latents[attempt][j], settings) for i, j in pairs]
        for attempt, pairs in quizzed.items()
    }
    answers = panel.ask(requests, partial(read_numbers, n=_COUNTS.n_scored), reminder=prompts.NUMBERS_AGAIN)
    judged: Latents = {}
    for attempt, of_sae in answers.items():
        judged[attempt] = list(latents[attempt])
        for (i, j), answer, request in zip(quizzed[attempt], of_sae, requests[attempt], strict=True):
            judged[attempt][i] = _answered(judged[attempt][i], latents[attempt][j], answer, panel.digest(request))
    return judged


def _pairs(latents: Sequence[JudgedLatent]) -> list[tuple[int, int]]:
    """Whose windows go with whose explanation: each with its own, then each with another one's."""
    explained = [i for i, latent in enumerate(latents) if latent.explanation is not None]
    controls = others([latents[i].explanation for i in explained])
    return [
        *((i, i) for i in explained),
        *((i, explained[other]) for i, other in zip(explained, controls, strict=True) if other is not None),
    ]


def _question(latent: JudgedLatent, explained: JudgedLatent, settings: AutointerpSettings) -> Request:
    if latent.quiz is None or explained.explanation is None:
        raise ValueError(f"latent {latent.latent} has no windows, or {explained.latent} no explanation")
    return settings.scoring.request(latent.quiz.messages(explained.explanation))


def _answered(
    latent: JudgedLatent, explained: JudgedLatent, answer: frozenset[int] | Unanswered, digest: str
) -> JudgedLatent:
    if latent.latent == explained.latent:
        latent = replace(latent, digests={**latent.digests, "predictions": digest})
        if isinstance(answer, Unanswered):
            return replace(latent, reason=f"no predictions: {answer.reason}")
        return replace(latent, predicted=answer)
    latent = replace(latent, control_latent=explained.latent, digests={**latent.digests, "random_explanation": digest})
    if isinstance(answer, Unanswered):
        return replace(latent, control_reason=answer.reason)
    return replace(latent, control=answer)
