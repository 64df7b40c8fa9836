"""The core eval on both sides: numbers and times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from benchmarks.measuring import Inside, Measured, measure, output_of
from sae_research.evals.base import EvalContext
from sae_research.evals.core import measure as core_measure
from sae_research.evals.core.measure import CorePlan, measure_core
from sae_research.evals.core.rows import CoreRows, documents_of
from sae_research.measurements import EvalOutput, Table
from sae_research.reference.core import SaeBenchCore, run_core
from sae_research.saes.base import Sae

PARTS = ("reconstruction", "sparsity", "weights and report")


@dataclass(frozen=True)
class CoreCase:
    """What both sides read."""

    context: EvalContext
    lens: Any
    rows: Tensor
    plan: CorePlan

    def theirs(self, sae: Sae, inside: Inside) -> Measured:
        """SAEBench's result for one SAE."""
        import sae_bench.evals.core.main as main

        watched = zip(_THEIR_FUNCTIONS, PARTS, strict=True)
        with inside.watching(*((main, function, part) for function, part in watched)):
            return measure(self._run_sae_bench(sae))

    def _run_sae_bench(self, sae: Sae) -> Any:
        batch = self.plan.batch_size
        return lambda: run_core(
            self.lens,
            sae,
            self.rows,
            batch_size=batch,
            n_reconstruction=self.plan.n_reconstruction // batch,
            keep_special=self.plan.keep_special,
        )

    def ours(self, saes: Sequence[Sae], inside: Inside) -> Measured:
        """Our results for all SAEs."""
        rows = CoreRows(self.rows, documents_of(self.rows, self.context.lm.special_ids))
        watched = zip(_OUR_FUNCTIONS, PARTS, strict=True)
        with inside.watching(*((core_measure._CorePass, function, part) for function, part in watched)):
            measured = measure(lambda: list(measure_core(self.context, saes, rows, self.plan)))
        return measured._replace(value=[output_of(outcome) for outcome in measured.value])


_THEIR_FUNCTIONS = (
    "get_downstream_reconstruction_metrics",
    "get_sparsity_and_variance_metrics",
    "get_featurewise_weight_based_metrics",
)
_OUR_FUNCTIONS = ("reconstruct", "describe", "finish")


class Pair(NamedTuple):
    """One metric on both sides."""

    metric: str
    theirs: float
    ours: float | None

    @property
    def difference(self) -> float:
        """Relative to theirs; for a column of latents the largest one, relative to the column's largest value."""
        if self.ours is None:
            return 0.0 if math.isnan(self.theirs) else math.inf
        return abs(self.ours - self.theirs) / max(abs(self.theirs), 1e-6)


def core_pairs(theirs: SaeBenchCore, ours: EvalOutput) -> list[Pair]:
    """Every scalar under SAEBench's name, then per latent column the entry that differs most."""
    values = {m.metric: m.value for m in ours.measurements}
    pairs = [
        Pair(name, float(value), values.get(f"{name}_sae_bench", values[name]))
        for name, value in theirs.scalars.items()
    ]
    return pairs + [_worst(name, column, ours.tables["latents"]) for name, column in theirs.latents.items()]


def _worst(name: str, column: Sequence[float], latents: Table) -> Pair:
    key = f"{name}_sae_bench" if f"{name}_sae_bench" in latents.columns else name
    theirs = np.asarray(column, dtype=np.float64)
    ours = latents[key].astype(np.float64)
    # A latent that never fires has no value in ours and NaN (0/0) in theirs.
    finite = np.isfinite(theirs) & np.isfinite(ours)
    if not np.array_equal(np.isfinite(theirs), np.isfinite(ours)):
        return Pair(f"{name} (undefined at other latents)", math.inf, None)
    # Entries near 0 (cosines, biases) are compared on the column's scale.
    scale = np.maximum(np.abs(theirs[finite]), 1e-3 * np.abs(theirs[finite]).max(initial=0))
    gaps = np.abs(ours[finite] - theirs[finite]) / np.maximum(scale, 1e-6)
    at = np.flatnonzero(finite)[int(gaps.argmax())] if finite.any() else 0
    return Pair(f"{name}[{at}]" if finite.any() else name, float(theirs[at]), float(ours[at]))
