"""Which SAEs the world offers, and where they lie below `models/`. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Architecture = Literal["relu", "topk", "batchtopk", "jumprelu", "gated", "random", "pca"]

HOOK_LAYER = 0
HOOK_NAME = f"blocks.{HOOK_LAYER}.hook_resid_post"
"""After the first block: the one place in so small a model where all evals have something to measure, since what is
known of an entity leaves its token after it."""


@dataclass(frozen=True)
class SaePlan:
    """One SAE to be trained, or made as it is."""

    folder: str
    """Its place below `models/`."""
    architecture: Architecture
    sparsity: int
    """k where the architecture has one, else the L0 that its penalty is steered towards."""

    @property
    def is_trained(self) -> bool:
        """Whether it learns from activations by gradient."""
        return self.architecture not in ("random", "pca")


PLANS = (
    SaePlan("sae-relu/resid_post_layer_0/trainer_0", "relu", 24),
    SaePlan("sae-relu/resid_post_layer_0/trainer_1", "relu", 12),
    SaePlan("sae-relu/resid_post_layer_0/trainer_2", "relu", 48),
    SaePlan("sae-topk/k8", "topk", 8),
    SaePlan("sae-topk/k16", "topk", 16),
    SaePlan("sae-topk/k32", "topk", 32),
    SaePlan("sae-batchtopk/k8", "batchtopk", 8),
    SaePlan("sae-batchtopk/k32", "batchtopk", 32),
    SaePlan("sae-jumprelu/l0_8", "jumprelu", 8),
    SaePlan("sae-jumprelu/l0_32", "jumprelu", 32),
    SaePlan("sae-gated/l0_16", "gated", 16),
    SaePlan("sae-gated/l0_40", "gated", 40),
    SaePlan("sae-random/k16", "random", 16),
    SaePlan("sae-pca/k16", "pca", 16),
)
