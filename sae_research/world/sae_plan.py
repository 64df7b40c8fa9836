"""The SAEs of the world and their places below `models/`. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Architecture = Literal["relu", "topk", "batchtopk", "jumprelu", "gated"]

HOOK_LAYER = 0
HOOK_NAME = f"blocks.{HOOK_LAYER}.hook_resid_post"
"""After the first block: the only place in so small a model where every eval has something to measure. Later, what the
model knows about an entity has left the entity's token."""


@dataclass(frozen=True)
class SaePlan:
    """One SAE to be trained."""

    folder: str
    """Its place below `models/`."""
    architecture: Architecture
    sparsity: int
    """k where the architecture has one, else the L0 that its penalty is steered towards."""
    seed: int = 0
    """Another seed is another initialisation and another order of the same batches."""
    model: Literal["trained", "untrained"] = "trained"
    """Whose activations it is trained on: the world's language model, or that model before its training."""


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
    SaePlan("sae-topk/k8_seed1", "topk", 8, seed=1),
    SaePlan("sae-batchtopk/k8_seed1", "batchtopk", 8, seed=1),
    SaePlan("sae-jumprelu/l0_8_seed1", "jumprelu", 8, seed=1),
    SaePlan("sae-untrained/k16", "topk", 16, model="untrained"),
)
