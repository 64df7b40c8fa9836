"""The metrics of RAVEL: names, keys in SAEBench's schema, directions."""

from __future__ import annotations

from sae_research.measurements import MetricSpec

SCORES = {
    "disentanglement_score": "Disentanglement (RAVEL)",
    "cause_score": "Cause (RAVEL)",
    "isolation_score": "Isolation (RAVEL)",
}
VARIANTS = {"": "", "soft_": ", soft mask", "with_error_": ", with the error term"}
"""For each way to put the codes back: the prefix of a metric's name, and the end of its title."""
BASELINE = "baseline_"
BASELINE_TITLES = {
    "neurons": "Neurons",
    "pca": "PCA directions",
    "rotation": "Random rotation",
    "das": "Learned rotation, one attribute (DAS)",
    "mdas": "Learned rotation, all attributes (MDAS)",
    "noop": "Nothing replaced",
    "full_swap": "All of the activation replaced",
}
"""Baselines and their titles, in the order of legends."""

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
    MetricSpec("tested_entities", "ravel", "entities", "neither", "Entities in test pairs (RAVEL)"),
    MetricSpec("prompts_kept", "ravel", "", "neither", "Share of prompts answered correctly (RAVEL)"),
)  # fmt: skip
