"""The identity: codes are the activations themselves. The oracle of the tests: it loses nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sae_research.errors import UserError
from sae_research.saes.base import Sae, SaeCard, zero_masked
from sae_research.saes.build import read_settings, with_settings


@dataclass(frozen=True)
class Settings:
    """The identity has no options."""


@final
class IdentitySae(Sae):
    """codes = x, exactly; nothing is stored, `W_dec` is the unit matrix and `b_dec` zero."""

    settings_type = Settings

    def __init__(self, card: SaeCard, tensors: Mapping[str, Tensor]) -> None:
        if card.d_sae != card.d_in:
            raise UserError(f"SAE {card.name!r}: the identity needs d_sae = d_in, got {card.d_sae} and {card.d_in}")
        super().__init__(with_settings(card, read_settings(Settings, card)), tensors)
        self.register_buffer("W_dec", torch.eye(card.d_in))
        self.register_buffer("b_dec", torch.zeros(card.d_in))

    def encode(
        self, x: Float[Tensor, "*batch d_in"], mask: Bool[Tensor, "*batch"] | None = None
    ) -> Float[Tensor, "*batch d_sae"]:
        return zero_masked(x.to(self.W_dec.dtype), mask)
