"""What the language model reaches by itself: the metrics to hold an SAE's metric against."""

from __future__ import annotations

from collections.abc import Mapping

REFERENCES: Mapping[str, tuple[str, ...]] = {
    "sae_top_k_test_accuracy": ("llm_test_accuracy", "llm_top_k_test_accuracy"),
    "sae_test_accuracy": ("llm_test_accuracy",),
}
"""By an SAE's metric, the model's own: without SAE, at the same place or at the only one."""
