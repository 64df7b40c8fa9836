"""Metrics that all evals with a judge may report: how fit the judge is. They are the same for all SAEs."""

from __future__ import annotations

from sae_research.measurements import MetricSpec

GOLD, NULL, COMPLIANCE = "judge_gold_score", "judge_null_balanced_accuracy", "judge_gold_compliance"
NOT_IN_INTERVALS = "the judge, and the text in which examples are looked for"
"""What the intervals of these evals leave out."""

DETECTING_SPECS = (
    MetricSpec(GOLD, "judge", "", "neither", "Judge's score on latents that are one word"),
    MetricSpec(NULL, "judge", "", "neither", "Judge's balanced accuracy on latents of no meaning"),
)
WRITING_SPECS = (
    MetricSpec(COMPLIANCE, "judge", "", "neither", "Share of the judge's texts that hold the word asked for"),
)
