"""A device that computes on the CPU, but on which mixing devices is an error, as on a GPU.

A tensor there holds its numbers in a tensor of the CPU. Each operation is checked as PyTorch's CUDA operations check
theirs, then computed on the CPU. It says nothing about CUDA's own kernels: their rounding, their limits, their speed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
import torch.utils.backend_registration
from torch import Tensor
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

NAME = "simulated"
_CPU = torch.device("cpu")
_aten = torch.ops.aten
_BETWEEN_DEVICES = (_aten._to_copy.default, _aten.copy_.default)
_INDEXING = (
    _aten.index.Tensor, _aten._unsafe_index.Tensor, _aten.index_put.default, _aten.index_put_.default,
    _aten._index_put_impl_.default,
)  # fmt: skip


@cache
def _registered() -> torch.device:
    """The device, made known to PyTorch, which keeps it until the process ends."""
    # The first gradient of a process starts a thread for each device there is; a fork could then compute none.
    torch.ones((), requires_grad=True).backward()
    backends: Any = torch.utils.backend_registration

    class Absent(backends._DummyBackendModule):
        """Code that uses any accelerator there is leaves this one alone."""

        def is_available(self) -> bool:
            return False

        def device_count(self) -> int:
            return 0

    backends._setup_privateuseone_for_python_backend(NAME, Absent())
    return torch.device(NAME, 0)


@contextmanager
def simulated_gpu() -> Iterator[str]:
    """Within the block the device can be used, in this thread; its name."""
    lifted = torch._C._only_lift_cpu_tensors()
    # `torch.tensor(values, device=...)` then fills a tensor of the CPU and moves it.
    torch._C._set_only_lift_cpu_tensors(True)
    _registered()
    try:
        # Gradients of a device other than the CPU are else computed in a thread of its own.
        with torch.autograd.set_multithreading_enabled(False), _Everywhere():
            yield NAME
    finally:
        torch._C._set_only_lift_cpu_tensors(lifted)


class _OnGpu(Tensor):
    """A tensor of the device."""

    on_cpu: Tensor

    @staticmethod
    def __new__(cls, on_cpu: Tensor) -> _OnGpu:
        made = Tensor._make_wrapper_subclass(  # pyright: ignore[reportAttributeAccessIssue]
            cls, on_cpu.shape, strides=on_cpu.stride(), storage_offset=on_cpu.storage_offset(), dtype=on_cpu.dtype,
            device=_registered(),
        )  # fmt: skip
        made.on_cpu = on_cpu
        return made

    @classmethod
    def __torch_dispatch__(
        cls, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return _compute(func, args, kwargs or {})

    def tolist(self) -> Any:
        return self.on_cpu.tolist()

    def data_ptr(self) -> int:
        raise RuntimeError("a kernel of the CPU asks for a GPU's memory")

    def __repr__(self, **_: Any) -> str:
        return f"simulated({self.on_cpu!r})"


class _Everywhere(TorchDispatchMode):
    """Sees operations without a tensor as well: `torch.zeros(3, device="simulated")`."""

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return _compute(func, args, kwargs or {})


def _compute(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    values = tree_flatten((args, kwargs))[0]
    here = [value for value in values if isinstance(value, _OnGpu)]
    target = kwargs.get("device")
    on_gpu = bool(here) if target is None else torch.device(target).type == NAME
    if not here and not on_gpu:
        return func(*args, **kwargs)
    if target is None and func not in _BETWEEN_DEVICES:
        _check(func, args, values)
    assert not any(isinstance(value, torch.Generator) for value in values), f"{func}: a generator of the CPU"
    # In-place operations return a tensor that they got.
    known = {id(value.on_cpu if isinstance(value, _OnGpu) else value): value for value in values if _is_tensor(value)}
    plain_args, plain_kwargs = tree_map(
        lambda value: value.on_cpu if isinstance(value, _OnGpu) else value, (args, kwargs)
    )
    if target is not None:
        plain_kwargs = {**plain_kwargs, "device": _CPU}
    result = func(*plain_args, **plain_kwargs)
    if torch.Tag.inplace_view in func.tags:
        # What the tensor itself knows of its shape changes too.
        with no_dispatch():
            func(*args, **kwargs)
    assert all(value.shape == value.on_cpu.shape for value in here), f"{func}: a tensor changed its shape in place"

    def as_result(value: Any) -> Any:
        if not _is_tensor(value):
            return value
        return known.get(id(value), _OnGpu(value) if on_gpu else value)

    return tree_map(as_result, result)


def _check(func: Callable[..., Any], args: Sequence[Any], values: Sequence[Any]) -> None:
    """Tensors of the CPU are welcome among those of the device as single numbers, and as indices."""
    strangers = [value for value in values if _is_tensor(value) and not isinstance(value, _OnGpu) and value.ndim]
    if func in _INDEXING and isinstance(args[0], _OnGpu):
        indices = {id(index) for index in args[1]}
        strangers = [value for value in strangers if id(value) not in indices]
    if strangers:
        shapes = ", ".join(str(tuple(value.shape)) for value in strangers)
        raise RuntimeError(f"{func}: expected all tensors to be on {NAME}:0, but some are on the cpu: {shapes}")


def _plain(value: Any) -> Any:
    return value.on_cpu if isinstance(value, _OnGpu) else value


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)
