"""Sparse codes at a fraction of the dense product's cost, the same codes up to the rounding of a dot product.

Encoder and activations are rounded to whole numbers of 8 bits; their product, four times as fast as one in float32,
gives every pre-activation up to an error that the Cauchy-Schwarz inequality bounds: |x·w - x̂·ŵ| <= ‖x - x̂‖ ‖w‖ +
‖x̂‖ ‖w - ŵ‖. Latents that cannot fire under that bound are left out, the few others get the exact product in float32.
No latent that fires is ever missed.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_research.saes.base import Sae, centred
from sae_research.saes.parts.compiling import load_source

_SOURCE = Path(__file__).with_name("screening.cpp")
# The kernel's part in the version of the code that results are keyed by, which reads Python files only.
SOURCE_DIGEST = "87bb05f97e38408111de6e6f38ddd946dba39a33f3d7d094dd99322136807f06"
# Tokens of one product: its whole numbers stay near the cache.
_TOKENS = 512
# Where more than this share of the latents fires on average, the dense product costs no more.
_DENSEST = 1 / 16
# Room for the codes of one token, as a share of the latents.
_ROOM = 1 / 4
# Added to the error of x, relative to its norm: the rounding of float32 sums on both sides.
_ROUNDING = 2e-5


class SparseCodes(NamedTuple):
    """The codes other than 0 (here always above 0) of a run of tokens, in order of tokens, then latents."""

    counts: Int[Tensor, " tokens"]
    latents: Int[Tensor, " codes"]
    values: Float[Tensor, " codes"]


class Firing(NamedTuple):
    """When a latent fires, and its code: x w + gate > level, relu(scale x w + bias); of these the k largest."""

    gate: Tensor
    level: Tensor
    scale: Tensor
    bias: Tensor
    k: int = 0
    """0: all of them."""


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
    """One SAE's encoder, quantised."""

    def __init__(self, sae: Sae, firing: Firing) -> None:
        self._sae = sae
        options: Any = sae
        self._subtract: bool = options.settings.subtract_b_dec
        self._firing = Firing(*(t.contiguous() for t in firing[:4]), k=firing.k)
        self._encoder = sae.get_buffer("W_enc").T.contiguous()
        scale, whole, error = _quantised(self._encoder)
        self._whole = whole.T
        self._scale, self._error, self._norm = scale, error, self._encoder.norm(dim=1)
        self.is_open = True
        """Whether its codes have been sparse so far; once too many latents have fired, it stays closed."""

    @classmethod
    def of(cls, sae: Sae) -> Screen | None:
        """The screen of `sae`; None where its architecture, device, dtype or this machine has no use for one."""
        rule = _RULES.get(sae.card.architecture)
        if rule is None or not isinstance(sae, Sae):
            return None
        weights = sae.W_dec
        if weights.device.type != "cpu" or weights.dtype != torch.float32 or _kernel() is None:
            return None
        firing = rule(sae)
        return None if firing.k > _DENSEST * sae.card.d_sae else cls(sae, firing)

    def encode(self, x: Float[Tensor, "tokens d_in"]) -> SparseCodes | None:
        """The codes of `x`; None where they turn out too many, or `x` is not finite: encode densely then."""
        if not self.is_open or not bool(x.isfinite().all()):
            return None
        y = centred(self._sae, x, subtract=self._subtract).contiguous()
        parts = [self._encode(part) for part in y.split(_TOKENS)]
        found = [part for part in parts if part is not None]
        if len(found) < len(parts):
            self.is_open = False
            return None
        codes = SparseCodes(*(torch.cat(values) for values in zip(*found, strict=True)))
        self.is_open = len(codes.values) <= _DENSEST * self._sae.card.d_sae * max(1, len(x))
        return codes

    def decode(self, codes: SparseCodes) -> Float[Tensor, "tokens d_in"]:
        """x_hat of the tokens: a weighted sum of few atoms each."""
        starts = codes.counts.cumsum(0) - codes.counts
        bags = torch.nn.functional.embedding_bag(
            codes.latents.long(), self._sae.W_dec, starts, mode="sum", per_sample_weights=codes.values
        )
        return bags + self._sae.b_dec

    def _encode(self, y: Tensor) -> SparseCodes | None:
        kernel = _kernel()
        assert kernel is not None
        scale, whole, error = _quantised(y)
        product = torch._int_mm(whole, self._whole)  # pyright: ignore[reportPrivateImportUsage]
        norm = y.norm(dim=1)
        tokens, atoms = product.shape
        room = max(int(_ROOM * atoms), 1)
        counts = torch.empty(tokens, dtype=torch.int32)
        latents = torch.empty(tokens, room, dtype=torch.int32)
        codes = torch.empty(tokens, room)
        firing = self._firing
        inputs = (
            product, y, self._encoder, scale, error + _ROUNDING * norm, norm + error, self._scale, self._norm,
            self._error, firing.gate, firing.level, firing.scale, firing.bias, counts, latents, codes,
        )  # fmt: skip
        kernel.screened_codes(
            *(tensor.data_ptr() for tensor in inputs),
            *(tokens, atoms, y.shape[1], firing.k, room, torch.get_num_threads()),
        )
        if bool((counts < 0).any()):
            return None
        most = int(counts.max()) if tokens else 0
        kept = torch.arange(most) < counts[:, None]
        return SparseCodes(counts.long(), latents[:, :most][kept], codes[:, :most][kept])


def _quantised(rows: Float[Tensor, "n width"]) -> tuple[Tensor, Tensor, Tensor]:
    """Each row's quantum, its whole numbers from -127 to 127, and the norm of what rounding lost."""
    scale = (rows.abs().amax(dim=1) / 127).clamp(min=torch.finfo(torch.float32).tiny)
    steps = (rows / scale[:, None]).round_()
    error = (rows - steps * scale[:, None]).norm(dim=1)
    return scale, steps.to(torch.int8), error


@cache
def _kernel() -> ctypes.CDLL | None:
    """The compiled kernel, where whole-number products are exact and fast on this processor."""
    if not torch.cpu._is_vnni_supported() or not _products_are_exact():
        return None
    kernel = load_source(_SOURCE)
    if kernel is not None:
        kernel.screened_codes.argtypes = [*[ctypes.c_void_p] * 16, *[ctypes.c_int64] * 5, ctypes.c_int32]
        kernel.screened_codes.restype = None
    return kernel


def _products_are_exact() -> bool:
    """Some processors saturate sums of extreme products."""
    extreme = torch.full((32, 64), 127, dtype=torch.int8)
    extreme[::2] *= -1
    try:
        found = torch._int_mm(extreme, extreme.T)  # pyright: ignore[reportPrivateImportUsage]
        return torch.equal(found, extreme.int() @ extreme.T.int())
    except RuntimeError:
        return False
