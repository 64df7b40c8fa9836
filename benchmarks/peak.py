"""The operations of a run, counted, and how near to the card's peak it came with its matrix products.

    share of peak = Σ over types (FLOP of products in that type / the card's peak in that type) / seconds

A product of (n, k) and (k, m) has 2 n k m FLOP; those of attention count too, fused or not. All else (softmax, norms,
top-k, sorting, factorisations) counts as time without FLOP, so the share says how far the whole is from its products.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

_H100 = {"bfloat16": 989.4, "tf32": 494.7, "float32": 66.9, "float64": 66.9}
_H100_PCIE = {"bfloat16": 756.0, "tf32": 378.0, "float32": 51.2, "float64": 51.2}
_A100 = {"bfloat16": 312.0, "tf32": 156.0, "float32": 19.5, "float64": 19.5}
PEAKS: Mapping[str, Mapping[str, float]] = {
    "NVIDIA H100 80GB HBM3": _H100,
    "NVIDIA H100 PCIe": _H100_PCIE,
    "NVIDIA H200": _H100,
    "NVIDIA A100-SXM4-40GB": _A100,
    "NVIDIA A100-SXM4-80GB": _A100,
    "NVIDIA A100 80GB PCIe": _A100,
}
"""TFLOP/s of dense products by card, from NVIDIA's data sheets; float64 on tensor cores, float16 as bfloat16."""


class Operations(TorchDispatchMode):
    """Counts this thread's operations while it is active, and the FLOP of its matrix products by type."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        """Operations that compute something: on a GPU, each has to be launched by the host."""
        self.flop: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        self.calls += not func.is_view
        count: Callable[..., int] | None = flop_registry.get(func._overloadpacket)
        if count is not None:
            first = next(value for value in args if isinstance(value, Tensor))
            self.flop[str(first.dtype).removeprefix("torch.")] += count(*args, **(kwargs or {}), out_val=result)
        return result


def card_name(device: torch.device) -> str:
    """What the driver calls the card; empty for a CPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else ""


def share_of_peak(flop: Mapping[str, int], seconds: float, card: str, *, tf32: bool) -> float | None:
    """The share; None for a card whose peak is not known here, or a type that it has none for."""
    peaks = dict(PEAKS.get(card, {}))
    if not peaks:
        return None
    peaks["float16"] = peaks["bfloat16"]
    if tf32:
        peaks["float32"] = peaks["tf32"]
    if not set(flop) <= set(peaks):
        return None
    return sum(count / (1e12 * peaks[kind]) for kind, count in flop.items()) / seconds
