"""The ReLU SAE: linear encoder, ReLU, linear decoder; SAELens calls it `standard`.

Bricken et al. 2023, Towards monosemanticity: decomposing language models with dictionary learning,
https://transformer-circuits.pub/2023/monosemantic-features
"""

from __future__ import annotations

from typing import final

from jaxtyping import Float
from torch import Tensor

from sae_research.saes.about import About
from sae_research.saes.kernels.screening import Firing
from sae_research.saes.linear import BIASED, LinearSae, LinearSettings, biased_firing

ABOUT = About(
    title="ReLU",
    marker="o",
    color="#4477aa",
    place=10,
    sae_lens_names=("standard",),
    sae_bench_names=("standard_april_update",),
)


@final
class ReluSae(LinearSae):
    """codes = relu((x - b_dec) W_enc + b_enc)."""

    settings_type = LinearSettings
    shapes = BIASED
    scaled_with_atoms = ("W_enc", "b_enc")
    b_enc: Tensor

    def activate(self, products: Float[Tensor, "*batch d_sae"]) -> Float[Tensor, "*batch d_sae"]:
        return products.add_(self.b_enc).relu_()

    def firing(self) -> Firing:
        return biased_firing(self.b_enc)
