"""SAEs with a linear encoder: a product with W_enc, then a rule that says which latents fire and how strongly."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from types import MappingProxyType
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sae_research.saes.base import DICTIONARY, Sae, Shapes, centred, zero_masked
from sae_research.saes.kernels.screening import Firing

BIASED: Shapes = MappingProxyType({"W_enc": ("d_in", "d_sae"), "b_enc": ("d_sae",), **DICTIONARY})
"""The tensors of an encoder with one bias, and of the dictionary."""


@dataclass(frozen=True)
class LinearSettings:
    """Options of an SAE with a linear encoder and no others."""

    subtract_b_dec: bool = True
    """Whether the encoder sees x - b_dec rather than x."""


class LinearSae(Sae):
    """codes = activate(y W_enc) with y = x - b_dec, or y = x without the option `subtract_b_dec`."""

    W_enc: Tensor

    @final
    def encode(
        self, x: Float[Tensor, "*batch d_in"], mask: Bool[Tensor, "*batch"] | None = None
    ) -> Float[Tensor, "*batch d_sae"]:
        return zero_masked(self.activate(self.encoder_input(x) @ self.W_enc), mask)

    @final
    def encoder_input(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_in"]:
        """y, in the SAE's own dtype."""
        return centred(self, x, subtract=self.settings.subtract_b_dec)

    @abstractmethod
    def activate(self, products: Float[Tensor, "*batch d_sae"]) -> Float[Tensor, "*batch d_sae"]:
        """The codes that the products y W_enc lead to; the tensor may be overwritten."""

    @abstractmethod
    def firing(self) -> Firing | None:
        """The same rule in the terms of the screened encoder; None if these cannot express it."""


def biased_firing(b_enc: Float[Tensor, " d_sae"]) -> Firing:
    """codes = relu(y W_enc + b_enc), to be narrowed by a level or a k."""
    return Firing(gate=b_enc, level=torch.zeros_like(b_enc), gain=torch.ones_like(b_enc), bias=b_enc)
