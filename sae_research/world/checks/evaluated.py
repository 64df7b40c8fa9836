"""The evals themselves on a few SAEs of a world, and their scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sae_research.evals.base import Eval, EvalContext
from sae_research.evals.run import run_eval
from sae_research.measurements import EvalOutput
from sae_research.metrics.intervals import Estimate, paired_difference
from sae_research.progress import Progress
from sae_research.world.checks.subject import Subject

_BATCH_SIZE = 32


def evaluate(subject: Subject, evaluated: Eval, settings: object, saes: Mapping[str, str]) -> dict[str, EvalOutput]:
    """What the eval finds for each of `saes`, names with their folders; an error where it fails for one."""
    progress = Progress(evaluated.name, shown=False)
    context = EvalContext(subject.lm, subject.hub, subject.seed, _BATCH_SIZE, progress)
    loaded = [subject.sae(folder) for folder in saes.values()]
    outputs: dict[str, EvalOutput] = {}
    # Nothing is kept under a key here.
    measured = run_eval(context, evaluated, settings, loaded, parts=lambda _: {})
    for name, (_, result, error) in zip(saes, measured, strict=True):
        if result is None:
            raise RuntimeError(f"{evaluated.name} failed for {name}") from error
        outputs[name] = result.output
    return outputs


def score_of(output: EvalOutput, metric: str, **at: Any) -> Estimate:
    """The metric at this place as it was measured; an error that says why where it has no value."""
    (found,) = (m for m in output.measurements if m.metric == metric and dict(m.at) == at)
    if found.value is None:
        raise RuntimeError(f"{metric} at {at} has no value: {found.reason}")
    return Estimate(found.value, found.ci_low, found.ci_high, found.replicates)


def difference(one: Estimate, other: Estimate) -> Estimate:
    """one - other, paired; without interval where either was not resampled."""
    return paired_difference(one, other) or Estimate(one.value - other.value)
