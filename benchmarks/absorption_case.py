"""Absorption on both sides: scores over seeds, and times.

SAEBench sets no seed itself. Each run of either side has its own seed and draws words, prompts and probes anew.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.measuring import Inside, Measured, measure, output_of
from benchmarks.tables import Scores
from sae_research.evals.absorption import measure as absorption_measure
from sae_research.evals.absorption.measure import measure_absorption
from sae_research.evals.absorption.settings import AbsorptionSettings
from sae_research.evals.base import EvalContext
from sae_research.measurements import EvalOutput
from sae_research.reference.absorption import (
    SaeBenchAbsorption,
    SaeBenchAbsorptionPlan,
    run_absorption,
    sae_bench_module,
)
from sae_research.saes.base import Sae

PARTS = ("words and the model's probe", "probes of latents", "absorption")
_METRICS = ("mean_absorption_fraction_score", "mean_full_absorption_score", "mean_num_split_features")


@dataclass
class AbsorptionCase:
    """What both sides read."""

    context: EvalContext
    lens: Any
    settings: AbsorptionSettings
    scratch: Path
    _measured: set[str] = field(default_factory=set)

    def theirs(self, sae: Sae, inside: Inside) -> Measured:
        """SAEBench's result for one SAE; it computes the words and the model's probe with the first SAE of a run."""
        artifacts = self.scratch / "absorption"
        if sae.card.name in self._measured:
            self._measured.clear()
            shutil.rmtree(artifacts)
        self._measured.add(sae.card.name)
        main = sae_bench_module()
        from sae_bench.evals.absorption import k_sparse_probing as probing

        plan = SaeBenchAbsorptionPlan(self.settings, self.context.seed, self.context.batch_size)
        with inside.watching(
            (probing, "load_or_train_probe", PARTS[0]),
            (probing, "train_k_sparse_probes", PARTS[1]),
            (probing, "eval_probe_and_sae_k_sparse_raw_scores", PARTS[1]),
            (probing, "build_metrics_df", PARTS[1]),
            (main, "run_feature_absortion_experiment", PARTS[2]),
        ):
            return measure(lambda: run_absorption(self.lens, sae, plan, artifacts=artifacts))

    def ours(self, saes: Sequence[Sae], inside: Inside) -> Measured:
        """Our results for all SAEs."""
        functions = zip(("_probe_model", "_probe_latents", "_absorb"), PARTS, strict=True)
        with inside.watching(*((absorption_measure, function, part) for function, part in functions)):
            measured = measure(lambda: list(measure_absorption(self.context, saes, self.settings)))
        return measured._replace(value=[output_of(outcome) for outcome in measured.value])

    def at_seed(self, seed: int) -> AbsorptionCase:
        """The same with other draws."""
        context = dataclasses.replace(self.context, seed=seed)
        return AbsorptionCase(context, self.lens, self.settings, self.scratch / f"seed{seed}")

    def scores(self, theirs: SaeBenchAbsorption | None, output: EvalOutput) -> tuple[Scores, Scores]:
        """Both sides' scores of one SAE by name; SAEBench has none where it finds too few letters."""
        means = {name: theirs.means[name] for name in _METRICS} if theirs is not None else {}
        return means, {m.metric: m.value for m in output.measurements if m.metric in _METRICS}
