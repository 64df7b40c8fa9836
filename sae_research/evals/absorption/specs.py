"""The metrics of absorption: names, keys in SAEBench's schema, units, directions."""

from __future__ import annotations

from sae_research.evals.base import INTERPOLATES_HERE
from sae_research.measurements import MetricSpec

PROBE_F1, MEAN_PROBE_F1 = "sae_probe_f1", "mean_sae_probe_f1"
"""How well the probe on a letter's latents detects the letter."""

ABSORPTION_SPECS = (
    MetricSpec("mean_absorption_fraction_score", "mean", "", "lower", "Absorption fraction (lower is better)",
               "mean_absorption_fraction_score", headline=True),
    MetricSpec("mean_full_absorption_score", "mean", "", "lower", "Full absorption (lower is better)",
               "mean_full_absorption_score", headline=True),
    MetricSpec("mean_num_split_features", "mean", "latents", "lower", "Split latents per letter (lower is better)",
               "mean_num_split_features", headline=True),
    MetricSpec("std_dev_absorption_fraction_score", "mean", "", "neither",
               "Absorption fraction, deviation over letters", "std_dev_absorption_fraction_score"),
    MetricSpec("std_dev_full_absorption_score", "mean", "", "neither",
               "Full absorption, deviation over letters", "std_dev_full_absorption_score"),
    MetricSpec("std_dev_num_split_features", "mean", "latents", "neither",
               "Split latents, deviation over letters", "std_dev_num_split_features"),
    MetricSpec(MEAN_PROBE_F1, "mean", "", "higher", "F1 of the probes on letters' latents"),
    MetricSpec(PROBE_F1, "letters", "", "higher", "F1 of the probe on the letter's latents"),
    MetricSpec("absorption_fraction_score", "letters", "", "lower", "Absorption fraction (lower is better)"),
    MetricSpec("full_absorption_score", "letters", "", "lower", "Full absorption (lower is better)"),
    MetricSpec("num_split_features", "letters", "latents", "lower", "Split latents (lower is better)"),
    INTERPOLATES_HERE,
)  # fmt: skip
