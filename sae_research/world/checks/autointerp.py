"""Autointerp with the judge `rules`, with the embedded profile's settings: a trained SAE against controls."""

from __future__ import annotations

from sae_research.evals.autointerp.eval import AUTOINTERP
from sae_research.evals.autointerp.settings import AutointerpSettings
from sae_research.evals.autointerp.specs import BALANCED, GAIN
from sae_research.evals.judged.settings import JudgeReading
from sae_research.evals.judged.specs import GOLD, NULL
from sae_research.metrics.intervals import Estimate
from sae_research.world.checks.bar import Bar
from sae_research.world.checks.checked_world import PCA, RANDOM, CheckedWorld
from sae_research.world.checks.evaluated import difference, evaluate, score_of

SETTINGS = AutointerpSettings(
    dataset="embedded/text", n_rows=1200, n_latents=100, reading=JudgeReading("embedded/text")
)
"""Those of the embedded profile; a test compares the two."""
_LEADS = {BALANCED: 0.03, GAIN: 0.0}
"""What a trained SAE must be ahead of controls by."""
_TRAINED = "topk k16"
_SAES = {_TRAINED: "sae-topk/k16", "random": RANDOM, "pca": PCA}


def autointerp_bars(world: CheckedWorld) -> list[Bar]:
    """How fit the judge is; the lead of a trained SAE over controls as sparse; then the scores of each."""
    outputs = evaluate(world, AUTOINTERP, SETTINGS, _SAES)
    names = {BALANCED: "balanced accuracy", GAIN: "gain"}
    scores = {(metric, sae): score_of(output, metric) for sae, output in outputs.items() for metric in names}
    leads = [
        Bar(
            f"autointerp, {title}, trained minus {control}",
            difference(scores[metric, _TRAINED], scores[metric, control]),
            at_least=_LEADS[metric],
        )
        for metric, title in names.items()
        for control in ("random", "pca")
    ]
    gold, null = (score_of(outputs[_TRAINED], metric).value for metric in (GOLD, NULL))
    return [
        Bar("autointerp, judge on latents of one word", Estimate(gold), at_least=0.95),
        Bar("autointerp, judge on latents of no meaning", Estimate(null), at_least=0.45, at_most=0.55),
        *leads,
        *(Bar(f"autointerp, {names[metric]}, {sae}", estimate) for (metric, sae), estimate in scores.items()),
    ]
