"""The compiled pursuit kernel, `pursuit.cpp`; on machines without it plain PyTorch does the same."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sae_research.saes.kernels.compiling import load_source

_SOURCE = Path(__file__).with_name("pursuit.cpp")
# Without these the compiler may not vectorise a maximum. NaN still comes out as NaN codes.
_FLAGS = ("-ffinite-math-only", "-fno-signed-zeros")


def serves(tensor: Tensor) -> bool:
    """Whether the kernel can work on `tensor`: it is compiled, the tensor is float32 on the CPU, no gradient."""
    is_plain = tensor.device.type == "cpu" and tensor.dtype == torch.float32 and not tensor.requires_grad
    return is_plain and library() is not None


def matching_pursuit(
    correlations: Float[Tensor, "token d_sae"],
    gram: Float[Tensor, "d_sae d_sae"],
    codes: Float[Tensor, "token d_sae"],
    *,
    steps: int,
    nonneg: bool,
) -> None:
    """Adds the codes of `steps` steps of matching pursuit to `codes`; overwrites `correlations`.

    All tensors must be contiguous and such as the kernel `serves`.
    """
    kernel = library()
    assert kernel is not None and correlations.is_contiguous() and gram.is_contiguous() and codes.is_contiguous()
    tokens, atoms = correlations.shape
    kernel.matching_pursuit(
        *(tensor.data_ptr() for tensor in (gram, correlations, codes)),
        *(tokens, atoms, steps, int(nonneg), torch.get_num_threads()),
    )


def mark_strongest(
    correlations: Float[Tensor, "seq token d_sae"], *, k: int, nonneg: bool
) -> Bool[Tensor, "seq d_sae"]:
    """The union over the tokens of each sequence of the `k` largest magnitudes above 0, as by `top_k_mask`."""
    kernel, chosen = library(), torch.zeros(correlations.shape[::2], dtype=torch.bool)
    assert kernel is not None and correlations.is_contiguous()
    kernel.strongest(
        *(correlations.data_ptr(), chosen.data_ptr()),
        *(*correlations.shape, k, int(nonneg), torch.get_num_threads()),
    )
    return chosen


@cache
def library() -> ctypes.CDLL | None:
    """The loaded kernel; None if it cannot be compiled."""
    kernel = load_source(_SOURCE, *_FLAGS, symbols=("matching_pursuit", "strongest"))
    if kernel is None:
        return None
    pointer, integer = ctypes.c_void_p, ctypes.c_int64
    kernel.matching_pursuit.argtypes = [*[pointer] * 3, *[integer] * 3, *[ctypes.c_int32] * 2]
    kernel.strongest.argtypes = [*[pointer] * 2, *[integer] * 4, *[ctypes.c_int32] * 2]
    kernel.matching_pursuit.restype = kernel.strongest.restype = None
    return kernel
