"""The metrics of RAVEL: names, keys in SAEBench's schema, directions."""

from __future__ import annotations

from collections.abc import Iterator

from sae_research.evals.base import Baseline
from sae_research.measurements import MetricSpec

SCORES = {
    "disentanglement_score": "Disentanglement (RAVEL)",
    "cause_score": "Cause (RAVEL)",
    "isolation_score": "Isolation (RAVEL)",
}
SOFT, WITH_ERROR, SOFT_WITH_ERROR = "soft_", "with_error_", "soft_with_error_"
VARIANTS = {
    "": "",
    SOFT: ", soft mask",
    WITH_ERROR: ", with the error term",
    SOFT_WITH_ERROR: ", soft mask, with the error term",
}
"""For each way to put the codes back: the prefix of a metric's name, and the end of its title."""
BASELINE = "baseline_"
BASELINE_VARIANTS = {"": "", SOFT: ", soft mask"}
"""The same of baselines, which reconstruct without an error."""
REFERENCES = {
    f"{prefix}{score}": (f"{BASELINE}{SOFT if prefix.startswith(SOFT) else ''}{score}",)
    for prefix in VARIANTS
    for score in SCORES
}
"""By metric of an SAE the baselines' metric."""
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


def _scores() -> Iterator[MetricSpec]:
    """The scores of SAEs, then of baselines, each with its spread over seeds."""
    for start, variants in (("", VARIANTS), (BASELINE, BASELINE_VARIANTS)):
        for prefix, added in variants.items():
            for score, title in SCORES.items():
                plain = not start and not prefix
                name, title = f"{start}{prefix}{score}", f"{title}{added}{', baseline' if start else ''}"
                yield MetricSpec(name, "ravel", "", "higher", title, score if plain else None, headline=plain)
                yield MetricSpec(f"{name}_seed_std", "ravel", "", "neither", f"{title}, deviation over seeds")


RAVEL_SPECS: tuple[MetricSpec, ...] = (
    *_scores(),
    MetricSpec("n_latents_swapped", "ravel", "latents", "neither", "Latents in the mask (RAVEL)"),
    *(MetricSpec(name, "ravel", unit, "neither", title) for name, (unit, title) in SIZES.items()),
    MetricSpec("prompts_kept", "ravel", "", "neither", "Share of prompts answered correctly (RAVEL)"),
)
