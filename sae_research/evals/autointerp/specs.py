"""The metrics of autointerp: names, keys in SAEBench's schema, directions."""

from __future__ import annotations

from sae_research.evals.base import INTERPOLATES_HERE
from sae_research.measurements import MetricSpec

SCORE, DEVIATION = "autointerp_score", "autointerp_std_dev"
BALANCED, GAIN = "autointerp_balanced_accuracy", "autointerp_gain"
POSITIVE, NEGATIVE = "autointerp_true_positive_rate", "autointerp_true_negative_rate"
RANDOM, NONE = "autointerp_random_explanation_score", "autointerp_none_score"
BY_DENSITY, LATENTS = "autointerp_by_density", "autointerp_latents"
UNREADABLE, NEGATIVE_SIGN = "autointerp_unreadable_share", "autointerp_negative_share"

SCORES = (SCORE, DEVIATION, BALANCED, POSITIVE, NEGATIVE, RANDOM, GAIN)
"""Those that say nothing where the judge is unfit."""

_CATEGORY = "autointerp"

AUTOINTERP_SPECS = (
    MetricSpec(SCORE, _CATEGORY, "", "higher", "Automated interpretability", SCORE, headline=True),
    MetricSpec(DEVIATION, _CATEGORY, "", "neither", "Automated interpretability, deviation over latents", DEVIATION),
    MetricSpec(BALANCED, _CATEGORY, "", "higher", "Automated interpretability, balanced accuracy", headline=True),
    MetricSpec(GAIN, _CATEGORY, "", "higher", "Automated interpretability, gain over another latent's explanation",
               headline=True),
    MetricSpec(POSITIVE, _CATEGORY, "", "higher", "Windows with an activation that are told right"),
    MetricSpec(NEGATIVE, _CATEGORY, "", "higher", "Windows without an activation that are told right"),
    MetricSpec(RANDOM, _CATEGORY, "", "neither", "Score with another latent's explanation"),
    MetricSpec(NONE, _CATEGORY, "", "neither", "Score of a judge that always answers 'none'"),
    MetricSpec(BY_DENSITY, _CATEGORY, "", "higher", "Balanced accuracy of latents of one density"),
    MetricSpec(LATENTS, _CATEGORY, "latents", "neither", "Latents with a score"),
    MetricSpec(UNREADABLE, _CATEGORY, "", "lower", "Latents without an answer that can be read"),
    MetricSpec(NEGATIVE_SIGN, _CATEGORY, "", "neither", "Latents whose negative codes count as active"),
    INTERPOLATES_HERE,
)  # fmt: skip
