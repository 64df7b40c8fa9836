"""Sparse codes at a fraction of the dense product's cost; the same codes up to the rounding of a dot product.

Encoder and activations are rounded to 8-bit integers. Their product, four times as fast as one in float32, gives every
pre-activation up to an error that the Cauchy-Schwarz inequality bounds: |x·w - x̂·ŵ| <= ‖x - x̂‖ ‖w‖ + ‖x̂‖ ‖w - ŵ‖.
Latents that cannot fire under that bound are left out; the few others get the exact product in float32. No latent that
fires is ever missed.

Language models have a few channels that are much wider than all others. They would set the quantum, so that rounding
loses most of the rest; the widest two are multiplied in float32 instead.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_research.saes.codes import SparseCodes
from sae_research.saes.kernels.compiling import load_source

_SOURCE = Path(__file__).with_name("screening.cpp")
# As in the kernel: atoms of a panel, inputs of a group.
_PANEL, _GROUP = 48, 4
# If more than this share of the latents fires on average, the dense product costs no more.
DENSEST = 1 / 16
# As in the kernel: inputs that can be multiplied exactly. An input is wide from so many times the median size on.
_WIDE, _WIDER = 2, 4.0


class Firing(NamedTuple):
    """A latent fires where x w + gate > level; its code is relu(gain x w + bias). Only the k largest are taken."""

    gate: Tensor
    level: Tensor
    gain: Tensor
    bias: Tensor
    k: int = 0
    """0: all that fire."""
    magnitude: bool = False
    """Codes are the x w of largest magnitude, whatever their sign; gate, level, gain and bias are ignored."""


class ScreenedEncoder:
    """An encoder in 8-bit integers, with its exact rows beside it."""

    def __init__(self, rows: Float[Tensor, "atoms width"], firing: Firing) -> None:
        self._rows = rows.contiguous()
        gate, level, gain, bias = map(_padded, firing[:4])
        self._firing = Firing(gate, level, gain, bias, firing.k, firing.magnitude)
        self._packed: _Packed | None = None

    @classmethod
    def serves(cls, rows: Float[Tensor, "atoms width"], k: int) -> bool:
        """Whether this machine has the kernel, the kernel can work on `rows`, and `k` codes per token are few."""
        is_plain = rows.device.type == "cpu" and rows.dtype == torch.float32 and not rows.requires_grad
        return is_plain and k <= DENSEST * len(rows) and library() is not None

    def encode(self, x: Float[Tensor, "tokens width"]) -> SparseCodes | None:
        """The codes of `x`; None if there are too many of them, or if `x` is not finite."""
        kernel = library()
        assert kernel is not None
        (tokens, width), atoms = x.shape, len(self._rows)
        packed = self._packed or _packed(self._rows, _wide_inputs(x))
        if tokens:
            self._packed = packed
        firing, x, counts = self._firing, x.contiguous(), torch.empty(tokens, dtype=torch.int32)
        exact = (packed.wide, packed.wide_inputs)
        tensors = (packed.whole, self._rows, packed.scale, packed.norm, packed.error, *firing[:4], *exact, x, counts)
        sizes = (atoms, width, len(packed.wide_inputs), firing.k, tokens, int(DENSEST * atoms * tokens))
        n = kernel.find_codes(*(tensor.data_ptr() for tensor in tensors), *sizes, firing.magnitude)
        if n < 0:
            return None
        codes = SparseCodes(counts.long(), torch.empty(n, dtype=torch.int32), torch.empty(n))
        kernel.take_codes(codes.latents.data_ptr(), codes.values.data_ptr())
        return codes


def add_codes(codes: SparseCodes, rows: Int[Tensor, " tokens"], sums: Float[Tensor, "rows d_sae"]) -> None:
    """Adds the codes of each token to its row of `sums`; only on a machine that `serves` encoders."""
    kernel = library()
    assert kernel is not None and sums.is_contiguous()
    tensors = (codes.counts, codes.latents.int(), codes.values, rows.contiguous(), sums)
    kernel.add_codes(*(tensor.data_ptr() for tensor in tensors), len(rows), sums.shape[1])


class _Packed(NamedTuple):
    """The encoder as the kernel reads it; arrays over atoms are padded to whole panels."""

    whole: Tensor
    """Whole numbers plus 128, in the order in which they are read; padding is 128, which stands for 0."""
    scale: Tensor
    norm: Tensor
    error: Tensor
    """The norm of what rounding lost."""
    wide: Tensor
    """(inputs, atoms): the columns of the wide inputs, which are 0 in `whole`."""
    wide_inputs: Tensor


def _packed(rows: Float[Tensor, "atoms width"], wide_inputs: Int[Tensor, " inputs"]) -> _Packed:
    rest = rows.index_fill(1, wide_inputs, 0.0)
    scale, whole, error = _quantised(rest)
    wide = torch.nn.functional.pad(rows[:, wide_inputs].T, (0, -len(rows) % _PANEL)).contiguous()
    norm = rows.norm(dim=1)
    return _Packed(_in_panels(whole), _padded(scale), _padded(norm), _padded(error), wide, wide_inputs.contiguous())


def _wide_inputs(x: Float[Tensor, "tokens width"]) -> Int[Tensor, " inputs"]:
    """The one or two inputs that are much larger than the others; none on most data."""
    sizes = x.norm(dim=0)
    widest = sizes.topk(min(_WIDE, len(sizes))).indices
    return widest[sizes[widest] > _WIDER * sizes.median()]


def _quantised(rows: Float[Tensor, "n width"]) -> tuple[Tensor, Tensor, Tensor]:
    """Each row's quantum, its integers from -127 to 127, and the norm of what rounding lost."""
    scale = (rows.abs().amax(dim=1) / 127).clamp(min=torch.finfo(torch.float32).tiny)
    steps = (rows / scale[:, None]).round_()
    error = (rows - steps * scale[:, None]).norm(dim=1)
    return scale, steps.to(torch.int16), error


def _in_panels(whole: Int[Tensor, "atoms width"]) -> Tensor:
    missing = (-whole.shape[1] % _GROUP, -whole.shape[0] % _PANEL)
    full = torch.nn.functional.pad(whole + 128, (0, missing[0], 0, missing[1]), value=128).to(torch.uint8)
    return full.view(-1, _PANEL, full.shape[1] // _GROUP, _GROUP).transpose(1, 2).contiguous()


def _padded(values: Float[Tensor, " atoms"]) -> Tensor:
    return torch.nn.functional.pad(values, (0, -len(values) % _PANEL)).contiguous()


@cache
def library() -> ctypes.CDLL | None:
    """The compiled kernel; None if it cannot be compiled or the processor has no fast integer products."""
    kernel = load_source(_SOURCE)
    if kernel is None or not hasattr(kernel, "find_codes"):
        return None
    kernel.find_codes.argtypes = [*[ctypes.c_void_p] * 13, *[ctypes.c_int64] * 6, ctypes.c_int32]
    kernel.find_codes.restype = ctypes.c_int64
    kernel.take_codes.argtypes = [ctypes.c_void_p] * 2
    kernel.take_codes.restype = None
    kernel.add_codes.argtypes = [*[ctypes.c_void_p] * 5, *[ctypes.c_int64] * 2]
    kernel.add_codes.restype = None
    return kernel
