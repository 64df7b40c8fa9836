"""SAEs with an encoder of their own behind the screen that finds their codes without the dense product."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sae_research.saes.base import Sae, centred
from sae_research.saes.kernels.screening import Firing, ScreenedEncoder, SparseCodes


def _biased(sae: Any) -> Firing:
    return Firing(sae.b_enc, torch.zeros_like(sae.b_enc), torch.ones_like(sae.b_enc), sae.b_enc)


def _top_k(sae: Any) -> Firing:
    return _biased(sae)._replace(k=sae.settings.k)


def _thresholded(sae: Any) -> Firing:
    return _biased(sae)._replace(level=sae.threshold.clamp(min=0))


def _gated(sae: Any) -> Firing:
    return Firing(sae.b_gate, torch.zeros_like(sae.b_gate), sae.r_mag.exp(), sae.b_mag)


_RULES: Mapping[str, Callable[[Sae], Firing]] = {
    "relu": _biased,
    "topk": _top_k,
    "batchtopk": _thresholded,
    "jumprelu": _thresholded,
    "gated": _gated,
}


class Screen:
    """One SAE's codes, by its screened encoder."""

    def __init__(self, sae: Sae, firing: Firing) -> None:
        self._sae = sae
        options: Any = sae
        self._subtract: bool = options.settings.subtract_b_dec
        self._encoder = ScreenedEncoder(sae.get_buffer("W_enc").T, firing)
        self.is_open = True
        """Whether its codes have been sparse so far; once too many latents have fired, it stays closed."""

    @classmethod
    def of(cls, sae: Sae) -> Screen | None:
        """The screen of `sae`; None where its architecture, device, dtype or this machine has no use for one."""
        rule = _RULES.get(sae.card.architecture)
        if rule is None or not isinstance(sae, Sae):
            return None
        firing = rule(sae)
        return cls(sae, firing) if ScreenedEncoder.serves(sae.W_dec, firing.k) else None

    def encode(self, x: Float[Tensor, "tokens d_in"]) -> SparseCodes | None:
        """The codes of `x`, all above 0; None where it takes the dense encoder: too many codes, or `x` not finite."""
        if not self.is_open:
            return None
        codes = self._encoder.encode(centred(self._sae, x, subtract=self._subtract))
        self.is_open = codes is not None
        return codes

    def decode(self, codes: SparseCodes) -> Float[Tensor, "tokens d_in"]:
        """x_hat of the tokens: a weighted sum of few atoms each."""
        starts = codes.counts.cumsum(0) - codes.counts
        bags = torch.nn.functional.embedding_bag(
            codes.latents.long(), self._sae.W_dec, starts, mode="sum", per_sample_weights=codes.values
        )
        return bags + self._sae.b_dec
