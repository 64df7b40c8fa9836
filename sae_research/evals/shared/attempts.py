"""SAEs on their way through a pass: the one that fails drops out, the others go on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Concatenate, ParamSpec, TypeVar

import torch

from sae_research.evals.base import Outcome
from sae_research.measurements import EvalOutput
from sae_research.saes.base import Sae
from sae_research.workers import side_by_side

Arguments = ParamSpec("Arguments")
Value = TypeVar("Value")


@dataclass(eq=False)
class Attempt:
    """One SAE in a pass that goes on without it once something of its own has failed."""

    sae: Sae
    error: Exception | None = None

    def do(self, work: Callable[Arguments, Value], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Value | None:
        """What `work` returns; None once this SAE has failed. The first error is kept for the outcome."""
        if self.error is not None:
            return None
        try:
            return work(*args, **kwargs)
        except Exception as error:
            self.error = error
            return None

    def finish(self, work: Callable[[], EvalOutput]) -> Outcome:
        """The outcome: what `work` makes of what was gathered, or the error."""
        output = self.do(work)
        return Outcome(self.sae, output, self.error)


def do_each(
    device: torch.device,
    attempts: Iterable[Attempt],
    work: Callable[Concatenate[Attempt, Arguments], Value],
    *args: Arguments.args,
    **kwargs: Arguments.kwargs,
) -> dict[Attempt, Value]:
    """What `work` returns for every SAE that has not failed, now or before; on the CPU side by side."""
    living = [attempt for attempt in attempts if attempt.error is None]
    values = side_by_side(lambda attempt: attempt.do(work, attempt, *args, **kwargs), living, device)
    by_attempt = dict(zip(living, values, strict=True))
    return {attempt: value for attempt, value in by_attempt.items() if attempt.error is None}  # type: ignore[misc]
