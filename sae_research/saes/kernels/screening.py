"""Sparse codes at a fraction of the dense product's cost, the same codes up to the rounding of a dot product.

Encoder and activations are rounded to whole numbers of 8 bits; their product, four times as fast as one in float32,
gives every pre-activation up to an error that the Cauchy-Schwarz inequality bounds: |x·w - x̂·ŵ| <= ‖x - x̂‖ ‖w‖ +
‖x̂‖ ‖w - ŵ‖. Latents that cannot fire under that bound are left out, the few others get the exact product in float32.
No latent that fires is ever missed.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_research.saes.kernels.compiling import load_source

_SOURCE = Path(__file__).with_name("screening.cpp")
# As in the kernel: atoms of a panel, inputs of a group.
_PANEL, _GROUP = 48, 4
# Where more than this share of the latents fires on average, the dense product costs no more.
DENSEST = 1 / 16


class SparseCodes(NamedTuple):
    """The codes other than 0 of a run of tokens, in order of tokens, then latents."""

    counts: Int[Tensor, " tokens"]
    latents: Int[Tensor, " codes"]
    values: Float[Tensor, " codes"]


class Firing(NamedTuple):
    """When a latent fires, and its code: x w + gate > level, relu(gain x w + bias); of these the k largest."""

    gate: Tensor
    level: Tensor
    gain: Tensor
    bias: Tensor
    k: int = 0
    """0: all of them."""
    magnitude: bool = False
    """Codes are x w, whatever their sign, of largest magnitude; gate, level, gain and bias count for nothing."""


class ScreenedEncoder:
    """An encoder, quantised."""

    def __init__(self, rows: Float[Tensor, "atoms width"], firing: Firing) -> None:
        self._rows = rows.contiguous()
        gate, level, gain, bias = map(_padded, firing[:4])
        self._firing = Firing(gate, level, gain, bias, firing.k, firing.magnitude)
        scale, whole, error = _quantised(self._rows)
        self._whole = _packed(whole)
        self._scale, self._norm, self._error = map(_padded, (scale, self._rows.norm(dim=1), error))

    @classmethod
    def serves(cls, rows: Float[Tensor, "atoms width"], k: int) -> bool:
        """Whether this machine has the kernel, it can work on `rows`, and `k` codes a token are few."""
        fits = rows.device.type == "cpu" and rows.dtype == torch.float32 and not rows.requires_grad
        return fits and k <= DENSEST * len(rows) and _kernel() is not None

    def encode(self, x: Float[Tensor, "tokens width"]) -> SparseCodes | None:
        """The codes of `x`; None where they turn out too many, or `x` is not finite."""
        kernel = _kernel()
        assert kernel is not None
        (tokens, width), atoms = x.shape, len(self._rows)
        firing, x, counts = self._firing, x.contiguous(), torch.empty(tokens, dtype=torch.int32)
        tensors = (self._whole, self._rows, self._scale, self._norm, self._error, *firing[:4], x, counts)
        most = int(DENSEST * atoms * tokens)
        n = kernel.find_codes(
            *(tensor.data_ptr() for tensor in tensors), atoms, width, firing.k, tokens, most, firing.magnitude
        )
        if n < 0:
            return None
        found = SparseCodes(counts.long(), torch.empty(n, dtype=torch.int32), torch.empty(n))
        kernel.take_codes(found.latents.data_ptr(), found.values.data_ptr())
        return found


def add_codes(codes: SparseCodes, rows: Int[Tensor, " tokens"], sums: Float[Tensor, "rows d_sae"]) -> None:
    """Adds the codes of each token to its row of `sums`, on a machine that `serves` encoders."""
    kernel = _kernel()
    assert kernel is not None and sums.is_contiguous()
    tensors = (codes.counts, codes.latents.int(), codes.values, rows.contiguous(), sums)
    kernel.add_codes(*(tensor.data_ptr() for tensor in tensors), len(rows), sums.shape[1])


def _quantised(rows: Float[Tensor, "n width"]) -> tuple[Tensor, Tensor, Tensor]:
    """Each row's quantum, its whole numbers from -127 to 127, and the norm of what rounding lost."""
    scale = (rows.abs().amax(dim=1) / 127).clamp(min=torch.finfo(torch.float32).tiny)
    steps = (rows / scale[:, None]).round_()
    error = (rows - steps * scale[:, None]).norm(dim=1)
    return scale, steps.to(torch.int16), error


def _packed(whole: Int[Tensor, "atoms width"]) -> Tensor:
    """The whole numbers plus 128, in the order in which the kernel reads them; 128 stands for what is not there."""
    missing = (-whole.shape[1] % _GROUP, -whole.shape[0] % _PANEL)
    full = torch.nn.functional.pad(whole + 128, (0, missing[0], 0, missing[1]), value=128).to(torch.uint8)
    return full.view(-1, _PANEL, full.shape[1] // _GROUP, _GROUP).transpose(1, 2).contiguous()


def _padded(values: Float[Tensor, " atoms"]) -> Tensor:
    return torch.nn.functional.pad(values, (0, -len(values) % _PANEL)).contiguous()


@cache
def _kernel() -> ctypes.CDLL | None:
    """The compiled kernel, where this processor multiplies whole numbers fast."""
    kernel = load_source(_SOURCE)
    if kernel is None or not hasattr(kernel, "find_codes"):
        return None
    kernel.find_codes.argtypes = [*[ctypes.c_void_p] * 11, *[ctypes.c_int64] * 5, ctypes.c_int32]
    kernel.find_codes.restype = ctypes.c_int64
    kernel.take_codes.argtypes = [ctypes.c_void_p] * 2
    kernel.take_codes.restype = None
    kernel.add_codes.argtypes = [*[ctypes.c_void_p] * 5, *[ctypes.c_int64] * 2]
    kernel.add_codes.restype = None
    return kernel
