"""Absorption of first letters: the eval itself, with the settings of the embedded profile, on four SAEs."""

from __future__ import annotations

from sae_research.evals.absorption import Absorption, AbsorptionSettings
from sae_research.evals.base import EvalContext
from sae_research.metrics.intervals import Estimate, paired_difference
from sae_research.progress import Progress
from sae_research.results.record import EvalOutput
from sae_research.world.checks.bar import Bar
from sae_research.world.checks.subject import Subject

SETTINGS = AbsorptionSettings(k_sparse_probe_batch_size=128)
"""The embedded profile's; a test compares the two."""

_SAES = {
    "TopK k8": "sae-topk/k8",
    "TopK k16": "sae-topk/k16",
    "TopK k32": "sae-topk/k32",
    "random": "sae-random/k16",
}


def absorption_bars(subject: Subject) -> list[Bar]:
    """By how much more a random SAE absorbs than a trained one, and a sparse one than a dense one; then each score.

    Lower is better. Random SAEs show in the fraction, for their split latents say little of a letter; how many
    latents fire shows in full absorption: the fewer, the oftener a single one says all.
    """
    context = EvalContext(
        lm=subject.lm, hub=subject.hub, seed=subject.seed, batch_size=32, progress=Progress("absorption", shown=False)
    )
    saes = [subject.sae(folder) for folder in _SAES.values()]
    fractions: dict[str, Estimate] = {}
    full: dict[str, Estimate] = {}
    for name, outcome in zip(_SAES, Absorption.run(context, saes, SETTINGS), strict=True):
        if outcome.output is None:
            raise RuntimeError(f"absorption failed for {outcome.sae.card.name}") from outcome.error
        fractions[name] = score_of(outcome.output, "mean_absorption_fraction_score")
        full[name] = score_of(outcome.output, "mean_full_absorption_score")
    return [
        Bar("absorption fraction, random minus TopK k16", _difference(fractions, "random", "TopK k16"), at_least=0.02),
        Bar("absorption fraction, random minus TopK k32", _difference(fractions, "random", "TopK k32"), at_least=0.05),
        Bar("full absorption, TopK k8 minus TopK k32", _difference(full, "TopK k8", "TopK k32"), at_least=0.02),
        *(Bar(f"absorption fraction, {name}", estimate) for name, estimate in fractions.items()),
        *(Bar(f"full absorption, {name}", estimate) for name, estimate in full.items()),
    ]


def score_of(output: EvalOutput, metric: str) -> Estimate:
    """The score of that name; an error that says why where there is none."""
    (found,) = (m for m in output.measurements if m.metric == metric)
    if found.value is None:
        raise RuntimeError(f"no {metric}: {found.reason}")
    return Estimate(found.value, found.ci_low, found.ci_high, found.replicates)


def _difference(scores: dict[str, Estimate], one: str, other: str) -> Estimate:
    """How much more the one absorbs, paired over letters."""
    found = paired_difference(scores[one], scores[other])
    assert found is not None
    return found
