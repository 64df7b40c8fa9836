"""Runs an eval on a few SAEs of a world, and picks its scores."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

from sae_research.evals.base import Eval, EvalContext
from sae_research.evals.run import run_eval
from sae_research.measurements import EvalOutput
from sae_research.metrics.intervals import Estimate, paired_difference
from sae_research.progress import Progress
from sae_research.world.checks.checked_world import CheckedWorld

log = logging.getLogger(__name__)

_BATCH_SIZE = 32


def evaluate(world: CheckedWorld, evaluated: Eval, settings: object, saes: Mapping[str, str]) -> dict[str, EvalOutput]:
    """The output of the eval for each of `saes`, folders by name; an error if it fails for one of them."""
    progress = Progress(evaluated.name, shown=False)
    context = EvalContext(world.lm, world.hub, world.seed, _BATCH_SIZE, progress)
    loaded = [world.sae(folder) for folder in saes.values()]
    outputs: dict[str, EvalOutput] = {}
    # Nothing is stored here, so results need no key.
    measured = run_eval(context, evaluated, settings, loaded, parts=lambda _: {})
    for name, (_, result, error) in zip(saes, measured, strict=True):
        if result is None:
            raise RuntimeError(f"{evaluated.name} failed for {name}") from error
        outputs[name] = result.output
    return outputs


def score_of(output: EvalOutput, metric: str, **at: Any) -> Estimate:
    """The metric at this place; NaN, which misses every bar, where the eval gives the reason why there is none."""
    (measurement,) = (m for m in output.measurements if m.metric == metric and dict(m.at) == at)
    if measurement.value is None:
        log.warning("world check: no %s: %s", metric, measurement.reason)
        return Estimate(math.nan)
    return Estimate(measurement.value, measurement.ci_low, measurement.ci_high, measurement.replicates)


def difference(one: Estimate, other: Estimate) -> Estimate:
    """one - other, paired; without an interval where either has no replicates."""
    return paired_difference(one, other) or Estimate(one.value - other.value)
