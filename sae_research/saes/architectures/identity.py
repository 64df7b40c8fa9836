"""The identity: codes are the activations themselves. It loses nothing, which makes it an oracle for tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sae_research.errors import UserError
from sae_research.saes.about import About
from sae_research.saes.base import Sae, SaeCard, Shapes, zero_masked

ABOUT = About(title="Identity", marker="8", color="#444444", place=160)


@dataclass(frozen=True)
class Settings:
    """The identity has no options."""


@final
class IdentitySae(Sae):
    """codes = x, exactly. Nothing is stored: `W_dec` is the unit matrix and `b_dec` is zero."""

    settings_type = Settings
    shapes: ClassVar[Shapes] = {}

    def __init__(self, card: SaeCard, tensors: Mapping[str, Tensor]) -> None:
        if card.d_sae != card.d_in:
            raise UserError(f"SAE {card.name!r}: the identity needs d_sae = d_in, got {card.d_sae} and {card.d_in}")
        super().__init__(card, tensors)
        self.register_buffer("W_dec", torch.eye(card.d_in))
        self.register_buffer("b_dec", torch.zeros(card.d_in))

    def encode(
        self, x: Float[Tensor, "*batch d_in"], mask: Bool[Tensor, "*batch"] | None = None
    ) -> Float[Tensor, "*batch d_sae"]:
        return zero_masked(x.to(self.W_dec.dtype), mask)
