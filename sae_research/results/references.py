"""What there is to hold an SAE's metric against: the language model by itself, and directions found without an SAE."""

from __future__ import annotations

from collections.abc import Mapping

REFERENCES: Mapping[str, tuple[str, ...]] = {
    "sae_top_k_test_accuracy": ("llm_test_accuracy", "llm_top_k_test_accuracy"),
    "sae_test_accuracy": ("llm_test_accuracy",),
    "disentanglement_score": ("baseline_disentanglement_score",),
    "cause_score": ("baseline_cause_score",),
    "isolation_score": ("baseline_isolation_score",),
}
"""By an SAE's metric, those that need no SAE, at the same place or at the only one."""

BASELINES: Mapping[str, str] = {
    "neurons": "Neurons",
    "pca": "PCA directions",
    "rotation": "Random rotation",
    "das": "Learned rotation, one attribute (DAS)",
    "mdas": "Learned rotation, all attributes (MDAS)",
    "noop": "Nothing replaced",
    "full_swap": "All of the activation replaced",
}
"""What the value of a reference's place `baseline` means."""
