"""The sensitivity eval: examples, texts that a judge writes after them, and one pass over all texts of all SAEs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from sae_research.evals.base import EvalContext, Outcome
from sae_research.evals.judged.controls import others
from sae_research.evals.judged.gate import fitness_to_write
from sae_research.evals.judged.panel import Panel, open_panel
from sae_research.evals.sensitivity.activations import Active, Asking, Tokens, find_activations, tokenize
from sae_research.evals.sensitivity.fresh import fresh_latents
from sae_research.evals.sensitivity.latents import AskedLatent, ExampledLatent, TextOf
from sae_research.evals.sensitivity.published import published_latents
from sae_research.evals.sensitivity.report import sensitivity_output
from sae_research.evals.sensitivity.settings import SensitivitySettings
from sae_research.evals.sensitivity.written import N_ASKED, read_written
from sae_research.evals.shared.attempts import Attempt
from sae_research.judges import prompts
from sae_research.judges.records import Unanswered
from sae_research.judges.replies import read_texts
from sae_research.saes.base import Sae

Latents = dict[Attempt, list[AskedLatent]]
"""By SAE those with examples, in their drawn order."""


def measure_sensitivity(context: EvalContext, saes: Sequence[Sae], settings: SensitivitySettings) -> Iterator[Outcome]:
    """The outcome of every SAE; all are at one site."""
    panel = open_panel(context, settings)
    attempts = [Attempt(sae) for sae in saes]
    find = fresh_latents if settings.examples == "fresh" else published_latents
    found = find(context, attempts, settings)
    fitness = fitness_to_write(
        panel,
        found.examples,
        settings,
        writing=settings.writing,
        n_texts=N_ASKED,
        seed=context.seed,
        counts=settings.counts,
    )
    latents = {attempt: [_shown(about, settings) for about in of_sae] for attempt, of_sae in found.latents.items()}
    if fitness.unfit is None:
        latents = _with_activations(context, _written(panel, latents), settings)
    else:
        latents = {a: [replace(latent, reason=fitness.unfit) for latent in of_sae] for a, of_sae in latents.items()}
    for attempt in attempts:
        yield attempt.finish(
            lambda attempt=attempt: sensitivity_output(
                latents[attempt], found.passed_over[attempt], fitness, settings, panel, attempt
            )
        )


def _shown(about: ExampledLatent, settings: SensitivitySettings) -> AskedLatent:
    """The latent as the judge is shown it."""
    request = settings.writing.request(prompts.writing(about.examples, N_ASKED))
    return AskedLatent(about, prompts.render(about.examples), request)


def _written(panel: Panel, latents: Latents) -> Latents:
    """The latents with the judge's texts, or with the reason why there are none."""
    requests = {attempt: [latent.request for latent in of_sae] for attempt, of_sae in latents.items()}
    read = partial(read_texts, separator=prompts.SEPARATOR, n=N_ASKED)
    answers = panel.ask(requests, read, reminder=prompts.WRITE_AGAIN)
    return {
        attempt: [_answered(latent, answer) for latent, answer in zip(latents[attempt], of_sae, strict=True)]
        for attempt, of_sae in answers.items()
    }


def _answered(latent: AskedLatent, answer: tuple[str, ...] | Unanswered) -> AskedLatent:
    if isinstance(answer, Unanswered):
        return replace(latent, reason=f"no texts: {answer.reason}")
    written = read_written(answer, latent.about.texts, latent.shown.markers)
    return replace(latent, written=written, reason=None if written.texts else "all texts are copies of examples")


def _with_activations(context: EvalContext, latents: Latents, settings: SensitivitySettings) -> Latents:
    """The latents with what they do on their own texts, on their examples, and on another latent's texts."""
    texts = _Texts()
    wanted = {attempt: _Wanted(texts, of_sae) for attempt, of_sae in latents.items()}
    tokens = tokenize(context.lm.tokenizer, list(texts.numbers), longest=settings.context_size)
    asking = {attempt: of_sae.asking() for attempt, of_sae in wanted.items()}
    if not asking:
        return {}
    active = find_activations(
        context, asking, tokens, site=next(iter(asking)).sae.card.site, longest=settings.context_size
    )
    return {attempt: wanted[attempt].filled(tokens, of_sae) for attempt, of_sae in active.items()}


@dataclass
class _Texts:
    """Texts, each with a number."""

    numbers: dict[str, int] = field(default_factory=dict)

    def number(self, text: str) -> int:
        """That of `text`."""
        return self.numbers.setdefault(text, len(self.numbers))


class _Wanted:
    """The pairs of a text and a latent that one SAE is asked for."""

    def __init__(self, texts: _Texts, latents: Sequence[AskedLatent]) -> None:
        self._texts, self._latents = texts, latents
        self._pairs: dict[tuple[int, int], tuple[int, int]] = {}
        """By text and latent the pair's number and the latent's sign."""
        with_texts = [i for i, latent in enumerate(latents) if latent.written is not None and latent.written.texts]
        chosen = others([_texts_of(latents[i]) for i in with_texts])
        self._control = {i: with_texts[j] for i, j in zip(with_texts, chosen, strict=True) if j is not None}
        for i, latent in enumerate(latents):
            for text in (*_texts_of(latent), *self._originals(latent), *self._control_texts(i)):
                pair = texts.number(text), latent.about.latent
                self._pairs.setdefault(pair, (len(self._pairs), latent.about.sign))

    def _originals(self, latent: AskedLatent) -> tuple[str, ...]:
        return latent.about.texts if _texts_of(latent) else ()

    def _control_texts(self, i: int) -> tuple[str, ...]:
        return _texts_of(self._latents[self._control[i]]) if i in self._control else ()

    def asking(self) -> Asking:
        """The pairs, in the order of their numbers."""
        pairs = np.array(list(self._pairs), dtype=np.int64).reshape(-1, 2)
        return Asking(pairs[:, 0], pairs[:, 1], np.array([sign for _, sign in self._pairs.values()], dtype=np.int64))

    def filled(self, tokens: Sequence[Tokens], active: Sequence[Active]) -> list[AskedLatent]:
        """The latents with their activations, where they have texts."""

        def on(latent: AskedLatent, texts: Sequence[str]) -> tuple[TextOf, ...]:
            numbers = [self._texts.numbers[text] for text in texts]
            pairs = [self._pairs[number, latent.about.latent][0] for number in numbers]
            return tuple(TextOf(t, tokens[n], active[p]) for t, n, p in zip(texts, numbers, pairs, strict=True))

        return [
            replace(
                latent,
                own=on(latent, _texts_of(latent)),
                original=on(latent, self._originals(latent)),
                control=on(latent, self._control_texts(i)),
                control_latent=self._latents[self._control[i]].about.latent if i in self._control else None,
            )
            for i, latent in enumerate(self._latents)
        ]


def _texts_of(latent: AskedLatent) -> tuple[str, ...]:
    return latent.written.texts if latent.written is not None else ()
