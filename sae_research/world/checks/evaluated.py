"""The evals themselves on a few SAEs of a world, and their scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sae_research.evals.base import Eval, EvalContext
from sae_research.metrics.intervals import Estimate, paired_difference
from sae_research.progress import Progress
from sae_research.results.record import EvalOutput
from sae_research.world.checks.subject import Subject

_BATCH_SIZE = 32


def evaluate(
    subject: Subject, eval_type: type[Eval], settings: object, saes: Mapping[str, str]
) -> dict[str, EvalOutput]:
    """What the eval finds for each of `saes`, names with their folders; an error where it fails for one."""
    progress = Progress(eval_type.name, shown=False)
    context = EvalContext(subject.lm, subject.hub, subject.seed, _BATCH_SIZE, progress)
    loaded = [subject.sae(folder) for folder in saes.values()]
    found = {}
    for name, outcome in zip(saes, eval_type.run(context, loaded, settings), strict=True):
        if outcome.output is None:
            raise RuntimeError(f"{eval_type.name} failed for {name}") from outcome.error
        found[name] = outcome.output
    return found


def score_of(output: EvalOutput, metric: str, **at: Any) -> Estimate:
    """The metric at this place as it was measured; an error that says why where it has no value."""
    (found,) = (m for m in output.measurements if m.metric == metric and dict(m.at) == at)
    if found.value is None:
        raise RuntimeError(f"{metric} at {at} has no value: {found.reason}")
    return Estimate(found.value, found.ci_low, found.ci_high, found.replicates)


def difference(one: Estimate, other: Estimate) -> Estimate:
    """one - other, paired; without interval where either was not resampled."""
    return paired_difference(one, other) or Estimate(one.value - other.value)
