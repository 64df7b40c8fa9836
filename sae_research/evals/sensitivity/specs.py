"""The metrics of the sensitivity eval: names and directions."""

from __future__ import annotations

from sae_research.evals.base import INTERPOLATES_HERE
from sae_research.measurements import MetricSpec

PERCENTS = (0, 1, 10, 50)
"""A latent counts as active on a text above these percentages of its largest activation on the corpus."""
CHOSEN = 50
"""The percentage at which SAEs whose latents are of different density can be compared."""

SENSITIVITY, ORIGINAL, OTHER = "sensitivity", "sensitivity_original", "sensitivity_other"
CONTRAST, RETAINED = "sensitivity_contrast", "sensitivity_retained"
BY_DENSITY, CONTRAST_BY_DENSITY = "sensitivity_by_density", "sensitivity_contrast_by_density"
LATENTS, TEXTS, COPIED, CUT = "sensitivity_latents", "texts_per_latent", "copied_share", "cut_share"
FAILED, NEGATIVE = "judge_failure_share", "sensitivity_negative_share"

SCORES = (SENSITIVITY, ORIGINAL, OTHER, CONTRAST, RETAINED)
"""Those at each percentage."""

_CATEGORY = "sensitivity"

SENSITIVITY_SPECS = (
    MetricSpec(SENSITIVITY, _CATEGORY, "", "higher", "Sensitivity", headline=True),
    MetricSpec(CONTRAST, _CATEGORY, "", "higher", "Sensitivity above that to other latents' texts", headline=True),
    MetricSpec(ORIGINAL, _CATEGORY, "", "neither", "Sensitivity to the latent's own examples"),
    MetricSpec(OTHER, _CATEGORY, "", "lower", "Sensitivity to another latent's texts"),
    MetricSpec(RETAINED, _CATEGORY, "", "higher", "Sensitivity relative to that to the examples"),
    MetricSpec(BY_DENSITY, _CATEGORY, "", "higher", "Sensitivity of latents of one density"),
    MetricSpec(CONTRAST_BY_DENSITY, _CATEGORY, "", "higher",
               "Sensitivity above that to other latents' texts, of latents of one density"),
    MetricSpec(LATENTS, _CATEGORY, "latents", "neither", "Latents with a sensitivity"),
    MetricSpec(TEXTS, _CATEGORY, "texts", "neither", "Texts for each latent"),
    MetricSpec(COPIED, _CATEGORY, "", "lower", "Share of the judge's texts that copy an example"),
    MetricSpec(CUT, _CATEGORY, "", "lower", "Share of texts that were longer than is read"),
    MetricSpec(FAILED, _CATEGORY, "", "lower", "Share of latents without texts of the judge"),
    MetricSpec(NEGATIVE, _CATEGORY, "", "neither", "Share of latents whose negative codes count as active"),
    INTERPOLATES_HERE,
)  # fmt: skip
