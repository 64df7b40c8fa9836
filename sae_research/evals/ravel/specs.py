"""The metrics of RAVEL: names, keys in SAEBench's schema, directions."""

from __future__ import annotations

from sae_research.evals.base import Baseline
from sae_research.measurements import MetricSpec

SCORES = {
    "disentanglement_score": "Disentanglement (RAVEL)",
    "cause_score": "Cause (RAVEL)",
    "isolation_score": "Isolation (RAVEL)",
}
WITH_ERROR = "with_error_"
VARIANTS = {"": "", "soft_": ", soft mask", WITH_ERROR: ", with the error term"}
"""For each way to put the codes back: the prefix of a metric's name, and the end of its title."""
BASELINE = "baseline_"
_BOTH = frozenset({"disentanglement_score", f"{WITH_ERROR}disentanglement_score"})
_ALL = frozenset(f"{prefix}{score}" for prefix in ("", WITH_ERROR) for score in SCORES)
BASELINES = {
    "neurons": Baseline("Neurons", least_for=_ALL),
    "pca": Baseline("PCA directions", least_for=_ALL),
    "rotation": Baseline("Random rotation", least_for=_ALL),
    "das": Baseline("Learned rotation, one attribute (DAS)"),
    "mdas": Baseline("Learned rotation, all attributes (MDAS)"),
    # Either has one of cause and isolation right by doing nothing for the other.
    "noop": Baseline("Nothing replaced", least_for=_BOTH),
    "full_swap": Baseline("All of the activation replaced", least_for=_BOTH),
}
"""In the order of legends. Masks are trained for all but the last two; only DAS and MDAS learn the axes too."""
SIZES = {
    "n_test_entities": ("entities", "Entities of test pairs (RAVEL)"),
    "n_cause_pairs": ("pairs", "Test pairs for cause (RAVEL)"),
    "n_isolation_pairs": ("pairs", "Test pairs for isolation (RAVEL)"),
    "n_training_steps": ("steps", "Training steps of a mask (RAVEL)"),
}
"""What stands behind a number: unit and title."""

RAVEL_SPECS: tuple[MetricSpec, ...] = (
    *(
        MetricSpec(f"{prefix}{score}", "ravel", "", "higher", f"{title}{added}", None if prefix else score,
                   headline=not prefix)
        for prefix, added in VARIANTS.items()
        for score, title in SCORES.items()
    ),
    *(
        MetricSpec(f"{BASELINE}{score}", "ravel", "", "higher", f"{title}, baseline")
        for score, title in SCORES.items()
    ),
    MetricSpec("n_latents_swapped", "ravel", "latents", "neither", "Latents in the mask (RAVEL)"),
    *(MetricSpec(name, "ravel", unit, "neither", title) for name, (unit, title) in SIZES.items()),
    MetricSpec("prompts_kept", "ravel", "", "neither", "Share of prompts answered correctly (RAVEL)"),
)  # fmt: skip
