"""One piece of work for every SAE of a pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Concatenate, ParamSpec, TypeVar

import torch

from sae_research.evals.base import Attempt
from sae_research.workers import side_by_side

Arguments = ParamSpec("Arguments")
Value = TypeVar("Value")


def do_each(
    device: torch.device,
    attempts: Iterable[Attempt],
    work: Callable[Concatenate[Attempt, Arguments], Value],
    *args: Arguments.args,
    **kwargs: Arguments.kwargs,
) -> dict[Attempt, Value]:
    """What `work` returns for every SAE that lives and goes on living; on the CPU side by side."""
    living = [attempt for attempt in attempts if attempt.error is None]
    found = side_by_side(lambda own: own.do(work, own, *args, **kwargs), living, device)
    values = dict(zip(living, found, strict=True))
    return {own: value for own, value in values.items() if own.error is None}  # type: ignore[misc]
