"""SAEs in a pass over texts: one that fails drops out, the others continue."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Concatenate, ParamSpec, TypeVar

import torch

from sae_research.evals.base import INTERPOLATES_HERE, Outcome
from sae_research.measurements import EvalOutput, Measurement
from sae_research.saes.base import Sae
from sae_research.saes.encoding import Supports
from sae_research.workers import side_by_side

Arguments = ParamSpec("Arguments")
Value = TypeVar("Value")


@dataclass(eq=False)
class Attempt:
    """One SAE in a pass, which continues without it after its first error."""

    sae: Sae
    error: Exception | None = None
    supports: Supports = field(default_factory=Supports)
    """Of the sequences that encoders given it have read."""

    def do(self, work: Callable[Arguments, Value], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Value | None:
        """The value of `work`; None once this SAE has failed. The outcome carries the first error."""
        if self.error is not None:
            return None
        try:
            return work(*args, **kwargs)
        except Exception as error:
            self.error = error
            return None

    def finish(self, work: Callable[[], EvalOutput]) -> Outcome:
        """The outcome: what `work` returns, or the error; with the share of sequences that the support interpolates."""
        output = self.do(work)
        if output is not None and self.supports.sequences:
            share = self.supports.interpolated / self.supports.sequences
            interpolates = Measurement(INTERPOLATES_HERE.name, share)
            output = replace(output, measurements=(*output.measurements, interpolates))
        return Outcome(self.sae, output, self.error)


def do_each(
    device: torch.device,
    attempts: Iterable[Attempt],
    work: Callable[Concatenate[Attempt, Arguments], Value],
    *args: Arguments.args,
    **kwargs: Arguments.kwargs,
) -> dict[Attempt, Value]:
    """The value of `work` for every SAE that has not failed, now or before; on a CPU several SAEs run in parallel."""
    running = [attempt for attempt in attempts if attempt.error is None]
    values = side_by_side(lambda attempt: attempt.do(work, attempt, *args, **kwargs), running, device)
    by_attempt = dict(zip(running, values, strict=True))
    return {attempt: value for attempt, value in by_attempt.items() if attempt.error is None}  # type: ignore[misc]
