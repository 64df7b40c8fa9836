"""What RAVEL measures: names, places in SAEBench's schema, directions."""

from __future__ import annotations

from sae_research.measurements import MetricSpec

SCORES = {
    "disentanglement_score": "Disentanglement (RAVEL)",
    "cause_score": "Cause (RAVEL)",
    "isolation_score": "Isolation (RAVEL)",
}
VARIANTS = {"": "", "soft_": ", soft mask", "with_error_": ", with the error term"}
"""What precedes a metric's name, and what the title adds, for each way to put the codes back."""
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
"""What each baseline is, in the order in which legends list them."""

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
    MetricSpec("prompts_kept", "ravel", "", "neither", "Share of prompts answered correctly (RAVEL)"),
)  # fmt: skip
