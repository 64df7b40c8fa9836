"""Examples that SAEBench has published. Densities and negative codes are not in its files."""

from __future__ import annotations

from collections.abc import Sequence

from sae_research.evals.base import EvalContext
from sae_research.evals.judged.examples import Examples, SaeExamples, read_corpus
from sae_research.evals.sensitivity.latents import ExampledLatent, Found
from sae_research.evals.sensitivity.published_files import PublishedExample, read_published_examples
from sae_research.evals.sensitivity.settings import SensitivitySettings
from sae_research.evals.shared.attempts import Attempt
from sae_research.evals.windows.firings import drawn_places

_FEWEST = 2
"""Examples that a latent needs."""


def published_latents(context: EvalContext, attempts: Sequence[Attempt], settings: SensitivitySettings) -> Found:
    """The first `n_latents` of each SAE's drawn order that its file has examples of, and those that it has none of."""
    latents: dict[Attempt, list[ExampledLatent]] = {}
    passed_over: dict[Attempt, list[ExampledLatent]] = {}
    for attempt in attempts:
        read = attempt.do(_read, attempt, context, settings)
        if read is not None:
            latents[attempt] = [about for about in read if about.examples]
            passed_over[attempt] = [about for about in read if not about.examples]
    _, corpus = read_corpus(context, settings)
    return Found(Examples(corpus, {attempt: SaeExamples() for attempt in latents}), latents, passed_over)


def _read(attempt: Attempt, context: EvalContext, settings: SensitivitySettings) -> list[ExampledLatent]:
    card = attempt.sae.card
    by_latent = read_published_examples(context.hub, settings, card.name, card.d_sae)
    places = drawn_places(card.d_sae, seed=context.seed)
    read: list[ExampledLatent] = []
    n_usable = 0
    for latent in sorted(by_latent, key=places.__getitem__):
        if n_usable == settings.n_latents:
            break
        about = _latent(latent, places[latent], by_latent[latent])
        n_usable += bool(about.examples)
        read.append(about)
    return read


def _latent(latent: int, place: int, examples: Sequence[PublishedExample]) -> ExampledLatent:
    if len(examples) < _FEWEST:
        reason = f"{len(examples)} examples in the published file, needed {_FEWEST}"
        return ExampledLatent(latent, place, None, 0.0, 1, reason=reason)
    return ExampledLatent(
        latent, place, None, examples[0].activation, 1,
        examples=tuple(example.text for example in examples),
        peaks=tuple(example.activation for example in examples),
    )  # fmt: skip
