"""Examples that are looked for in the corpus."""

from __future__ import annotations

from collections.abc import Sequence

from sae_research.evals.base import EvalContext
from sae_research.evals.judged.examples import find_examples, peak_in
from sae_research.evals.sensitivity.latents import ExampledLatent, Found
from sae_research.evals.sensitivity.settings import SensitivitySettings
from sae_research.evals.shared.attempts import Attempt
from sae_research.evals.windows.firings import drawn_places


def fresh_latents(context: EvalContext, attempts: Sequence[Attempt], settings: SensitivitySettings) -> Found:
    """The first `n_latents` of each SAE's drawn order that have windows, and those without; one pass for all SAEs."""
    examples = find_examples(context, attempts, settings, settings.counts)
    latents: dict[Attempt, list[ExampledLatent]] = {}
    passed_over: dict[Attempt, list[ExampledLatent]] = {}
    for attempt, of_sae in examples.by_sae.items():
        places = drawn_places(attempt.sae.card.d_sae, seed=context.seed)
        latents[attempt] = [
            ExampledLatent(
                found.latent, places[found.latent], found.density, found.largest, found.firings.sign,
                examples=tuple(examples.marked(found, found.windows.explain)),
                peaks=tuple(peak_in(found.firings, window) for window in found.windows.explain),
            )
            for found in of_sae.latents
        ]  # fmt: skip
        passed_over[attempt] = [
            ExampledLatent(one.latent, places[one.latent], one.density, one.largest, one.sign, reason=one.reason)
            for one in of_sae.passed_over
        ]
    return Found(examples, latents, passed_over)
