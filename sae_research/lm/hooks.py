"""Changes what a module reads, returns or computes, or its mode, for as long as a run takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


def change_input(module: nn.Module, change: Callable[[Tensor], Tensor]) -> RemovableHandle:
    """Applies `change` to the first positional argument, or to `hidden_states` if it is passed by name."""

    def hook(
        _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if args:
            return (change(args[0]), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": change(kwargs["hidden_states"])}

    return module.register_forward_pre_hook(hook, with_kwargs=True)


def change_output(module: nn.Module, change: Callable[[Tensor], Tensor]) -> RemovableHandle:
    """Applies `change` to the output, or to the first of several."""

    def hook(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> Any:
        return (change(output[0]), *output[1:]) if isinstance(output, tuple) else change(output)

    return module.register_forward_hook(hook)


@contextmanager
def replaced_forward(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Within the block, `module` computes `forward` instead of its own, which may be its class's or one set on it."""
    set_before = vars(module).get("forward")
    module.forward = forward
    try:
        yield
    finally:
        if set_before is None:
            del module.forward
        else:
            module.forward = set_before


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Within the block, `module` is in evaluation mode; afterwards each part of it is in the mode that it was in."""
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True
