"""The adapter to SAEBench: our SAEs behind its interface, its output silenced, its missing metrics."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import torch
from torch import Tensor

from sae_research.measurements import Measurement
from sae_research.saes.base import Sae


class SaeBenchSae:
    """`sae` with the attributes that SAEBench's evals read; encodes all tokens, because SAEBench has no mask."""

    def __init__(self, sae: Sae, *, watch_signs: bool = False) -> None:
        self._sae = sae
        self._watch_signs = watch_signs
        self._x: Tensor | None = None
        self._below_zero = torch.zeros((), dtype=torch.bool, device=sae.W_dec.device)
        self.W_dec = sae.W_dec
        self.W_enc = sae.encoder_directions
        # SAEBench reads `b_mag` of gated SAEs instead.
        self.b_enc = self.b_mag = sae.encoder_bias
        self.b_dec = sae.b_dec
        self.device: torch.device = sae.W_dec.device
        self.dtype: torch.dtype = sae.W_dec.dtype
        self.cfg = _config(sae)

    def encode(self, x: Tensor) -> Tensor:
        """Codes of all tokens."""
        self._x = x if self._sae.card.input_norm != "none" else None
        codes = self._sae.encode(x)
        if self._watch_signs:
            self._below_zero |= (codes < 0).any()
        return codes

    @property
    def gave_negative_codes(self) -> bool:
        """Whether any code so far was below 0; only known with `watch_signs`."""
        return bool(self._below_zero)

    def decode(self, codes: Tensor) -> Tensor:
        """x_hat of the activations that were encoded last, as SAELens does it where the input is normalised."""
        return self._sae.decode(codes, self._x)

    def forward(self, x: Tensor) -> Tensor:
        """x_hat of all tokens."""
        return self.decode(self.encode(x))


def _config(sae: Sae) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sae_bench.custom_saes.custom_sae_config import CustomSAEConfig
        from sae_bench.sae_bench_utils.general_utils import _standardize_sae_cfg
    card = sae.card
    config = CustomSAEConfig(
        card.model_name,
        d_in=card.d_in,
        d_sae=card.d_sae,
        hook_name=card.site.hook_name,
        hook_layer=card.site.layer,
    )
    config.dtype = str(sae.W_dec.dtype).removeprefix("torch.")
    config.architecture = card.architecture
    # SAEBench does this to every SAE that it is given.
    _standardize_sae_cfg(config)
    return config


@contextmanager
def silenced() -> Iterator[None]:
    """Within the block nothing is printed and no warning raised; SAEBench causes many deprecation warnings."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def not_computed(metric: str, at: Mapping[str, int | float | str] | None = None) -> Measurement:
    """The metric without a value, because SAEBench does not compute it."""
    return Measurement(metric, None, reason="not computed by sae_bench", at=dict(at or {}))
