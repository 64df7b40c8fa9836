"""Sensitivity with the judge `rules`, with the embedded profile's settings: a trained SAE against controls."""

from __future__ import annotations

from sae_research.evals.judged.settings import JudgeReading
from sae_research.evals.judged.specs import COMPLIANCE
from sae_research.evals.sensitivity.eval import SENSITIVITY_EVAL
from sae_research.evals.sensitivity.settings import SensitivitySettings
from sae_research.evals.sensitivity.specs import CHOSEN, CONTRAST, ORIGINAL, SENSITIVITY
from sae_research.metrics.intervals import Estimate
from sae_research.world.checks.bar import Bar
from sae_research.world.checks.checked_world import PCA, RANDOM, CheckedWorld
from sae_research.world.checks.evaluated import difference, evaluate, score_of

SETTINGS = SensitivitySettings(
    dataset="embedded/text", n_rows=400, n_latents=100, reading=JudgeReading("embedded/text")
)
"""Those of the embedded profile; a test compares the two."""
_TRAINED = "topk k16"
_SAES = {_TRAINED: "sae-topk/k16", "random": RANDOM, "pca": PCA}
_LEADS = {"random": None, "pca": 0.1}
"""What the trained SAE must be ahead of controls by; None: reported alone. After one layer a random latent is nearly a
list of tokens, and lists are what rules can tell: on two of five worlds the two cannot be told apart."""
_LEAST_ORIGINAL = 0.97
_SCORES = {
    (SENSITIVITY, 0): "any activation",
    (ORIGINAL, 0): "any activation on examples",
    (CONTRAST, 0): "contrast, any activation",
    (CONTRAST, CHOSEN): f"contrast at {CHOSEN} %",
}


def sensitivity_bars(world: CheckedWorld) -> list[Bar]:
    """How fit the judge is; the lead of a trained SAE over controls as sparse; then the scores of each."""
    outputs = evaluate(world, SENSITIVITY_EVAL, SETTINGS, _SAES)
    scores = {
        (metric, percent, sae): score_of(output, metric, percent=percent)
        for sae, output in outputs.items()
        for metric, percent in _SCORES
    }
    trained = scores[CONTRAST, CHOSEN, _TRAINED]
    compliance = score_of(outputs[_TRAINED], COMPLIANCE).value
    return [
        Bar("sensitivity, judge's texts with the word asked for", Estimate(compliance), at_least=0.95),
        *(
            Bar(
                f"sensitivity, contrast at {CHOSEN} %, trained minus {control}",
                difference(trained, scores[CONTRAST, CHOSEN, control]),
                at_least=least,
            )
            for control, least in _LEADS.items()
        ),
        *(
            Bar(
                f"sensitivity, {_SCORES[metric, percent]}, {sae}",
                estimate,
                at_least=_LEAST_ORIGINAL if (metric, sae) == (ORIGINAL, _TRAINED) else None,
            )
            for (metric, percent, sae), estimate in scores.items()
        ),
    ]
