"""Sparse probing on both sides: accuracies and times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measuring import Inside, Measured, measure, output_of
from sae_research.data.labelled import LabelledSet
from sae_research.evals.base import EvalContext
from sae_research.evals.shared import pooling
from sae_research.evals.sparse_probing import measure as probing_measure
from sae_research.evals.sparse_probing.measure import measure_probing
from sae_research.evals.sparse_probing.settings import SparseProbingSettings
from sae_research.reference.sparse_probing import SaeBenchProbingPlan, run_sparse_probing, sae_bench_module
from sae_research.saes.base import Sae

PARTS = ("encode and pool", "full-width probes", "k-probes")


@dataclass(frozen=True)
class ProbingCase:
    """What both sides read."""

    context: EvalContext
    lens: Any
    sets: Sequence[LabelledSet]
    settings: SparseProbingSettings
    artifacts: Path
    """SAEBench's cache of activations; full after its first run."""

    def theirs(self, sae: Sae, inside: Inside) -> Measured:
        """SAEBench's result for one SAE."""
        main = sae_bench_module()
        plan = SaeBenchProbingPlan(
            k_values=self.settings.k_values,
            seed=self.context.seed,
            context_size=self.settings.context_size,
            llm_batch_size=self.context.batch_size,
        )
        with inside.watching(
            (main.activation_collection, "get_sae_meaned_activations", PARTS[0]),
            (main.probe_training, "train_probe_on_activations", _part_of_probe),
        ):
            return measure(lambda: run_sparse_probing(self.lens, sae, self.sets, plan, artifacts=self.artifacts))

    def ours(self, saes: Sequence[Sae], inside: Inside) -> Measured:
        """Our results for all SAEs."""
        watched = ((pooling, "_pool"), (probing_measure, "score_wide"), (probing_measure, "score_top_k"))
        with inside.watching(*((*function, part) for function, part in zip(watched, PARTS, strict=True))):
            measured = measure(
                lambda: list(measure_probing(self.context, saes, {self.context.seed: self.sets}, self.settings))
            )
        return measured._replace(value=[output_of(outcome) for outcome in measured.value])


def _part_of_probe(*, select_top_k: int | None = None, **_: Any) -> str:
    """The part that a call of SAEBench's `train_probe_on_activations` belongs to."""
    return PARTS[1] if select_top_k is None else PARTS[2]
