"""Unlearning on both sides: accuracies under every intervention, scores, and times.

SAEBench gets our token rows, and the questions that count, which it would otherwise find by asking each in all orders,
with and without its text. Our times include finding them.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.measuring import Inside, Measured, measure, output_of, table
from benchmarks.random_data import random_unlearning_inputs
from sae_research.evals.base import EvalContext
from sae_research.evals.unlearning import measure as unlearning_measure
from sae_research.evals.unlearning.eval import UNLEARNING
from sae_research.evals.unlearning.measure import UnlearningInputs, find_known, load_inputs, measure_unlearning
from sae_research.evals.unlearning.prompts import Prompter
from sae_research.evals.unlearning.settings import UnlearningSettings
from sae_research.lm.site import Site
from sae_research.measurements import EvalOutput
from sae_research.pipeline.params import load_params
from sae_research.reference.unlearning import (
    FORGET,
    SaeBenchAccuracies,
    SaeBenchInputs,
    SaeBenchUnlearning,
    run_unlearning,
)
from sae_research.saes.base import Sae

PARTS = ("firing rates", "questions")
_RUNS = count()


@dataclass(frozen=True)
class UnlearningCase:
    """What both sides read."""

    context: EvalContext
    lens: Any
    inputs: UnlearningInputs
    sae_bench_inputs: SaeBenchInputs
    settings: UnlearningSettings
    scratch: Path

    def theirs(self, sae: Sae, inside: Inside) -> Measured:
        """SAEBench's result for one SAE, without anything from an earlier run."""
        from sae_bench.evals.unlearning.utils import eval as sae_bench_eval

        artifacts = self.scratch / f"unlearning{next(_RUNS)}"

        def run() -> Any:
            return run_unlearning(
                self.lens, sae, self.sae_bench_inputs, self.settings,
                artifacts=artifacts, batch_size=self.context.batch_size, seed=self.context.seed,
            )  # fmt: skip

        with inside.watching(
            (sae_bench_eval, "save_feature_sparsity", PARTS[0]), (sae_bench_eval, "run_metrics_calculation", PARTS[1])
        ):
            measured = measure(run)
        shutil.rmtree(artifacts)
        return measured

    def ours(self, saes: Sequence[Sae], inside: Inside) -> Measured:
        """Our results for all SAEs."""
        with inside.watching(
            (unlearning_measure, "count_firing", PARTS[0]), (unlearning_measure, "find_known", PARTS[1]),
            (unlearning_measure, "ask_clamped", PARTS[1]),
        ):  # fmt: skip
            measured = measure(lambda: list(measure_unlearning(self.context, saes, self.inputs, self.settings)))
        return measured._replace(value=[output_of(outcome) for outcome in measured.value])


def unlearning_case(context: EvalContext, lens: Any, site: Site, scratch: Path, *, embedded: bool) -> UnlearningCase:
    """The world's data with the settings of this folder's pipeline, or random rows and questions of words."""
    settings = load_params(Path("params.yaml")).settings_of(UNLEARNING)
    # As in SAEBench.
    settings = replace(settings, select_on="same_questions", side_effect_floor=0.99)
    if not embedded:
        # Random latents fire on both corpora alike, so nearly all of them must pass.
        settings = replace(settings, required_orders=1, prompt_format="plain", retain_thresholds=(0.5, 0.9))
    inputs = load_inputs(context, settings) if embedded else random_unlearning_inputs(context, settings)
    # SAEBench's multipliers are whole numbers in the SAE's own units.
    scale = _mean_norm(context, site, inputs) / context.lm.width(site) ** 0.5
    multipliers = tuple(sorted({max(1, round(m * scale)) for m in settings.multipliers}))
    settings = replace(settings, multiplier_unit="code", multipliers=multipliers)
    sae_bench_inputs = _sae_bench_inputs(context, site, inputs, settings)
    return UnlearningCase(context, lens, inputs, sae_bench_inputs, settings, scratch)


def _mean_norm(context: EvalContext, site: Site, inputs: UnlearningInputs) -> float:
    x = context.lm.capture(inputs.retain_rows[:16].to(context.lm.device), site)
    return float(x[:, 1:].float().norm(dim=-1).mean())


def _sae_bench_inputs(
    context: EvalContext, site: Site, our_inputs: UnlearningInputs, settings: UnlearningSettings
) -> SaeBenchInputs:
    """Questions under SAEBench's names of subjects, with the places of those that count."""
    prompter = Prompter(context.lm.tokenizer, settings.prompt_format, settings.protocol)
    known = find_known(context, site, our_inputs.questions, prompter, required_orders=settings.required_orders)
    counted = {id(q) for q in known.questions}
    asked: dict[str, list[Any]] = {}
    for question, is_forget in zip(our_inputs.questions.questions, our_inputs.questions.is_forget, strict=True):
        asked.setdefault(FORGET if is_forget else question.subject, []).append(question)
    places = {name: [i for i, q in enumerate(questions) if id(q) in counted] for name, questions in asked.items()}
    device = context.lm.device
    return SaeBenchInputs(our_inputs.forget_rows.to(device), our_inputs.retain_rows.to(device), asked, places)


def unlearning_table(their_runs: Sequence[Any], our_outputs: Sequence[EvalOutput], saes: Sequence[Sae]) -> str:
    """Each SAE's score on both sides, and the largest differences of its accuracies over the interventions of both."""
    rows = []
    for run, output, sae in zip(their_runs, our_outputs, saes, strict=True):
        theirs: SaeBenchUnlearning = run.value
        ours = _our_grid(output)
        # A firing rate at the threshold can count on one side only, because SAEBench stores its rates with six digits.
        both = sorted(theirs.grid.keys() & ours.keys())
        forget, side_effects = (
            max(abs(getattr(theirs.grid[key], name) - getattr(ours[key], name)) for key in both)
            for name in SaeBenchAccuracies._fields
        )
        (score,) = (m.value for m in output.measurements if m.metric == "unlearning_score")
        lowest = min(accuracies.forget for accuracies in theirs.grid.values())
        rows.append((sae.card.name, theirs.score, score, lowest, f"{len(both)} of {len(ours)}", forget, side_effects))
    return table(
        ["SAE", "score, theirs", "ours", "lowest forget accuracy", "interventions compared",
         "largest difference, forget", "largest difference, side effects"],
        rows,
    )  # fmt: skip


def _our_grid(output: EvalOutput) -> dict[tuple[float, int, int], SaeBenchAccuracies]:
    """Our accuracies by retain threshold, number of latents that were available (as in SAEBench) and multiplier."""
    available = {(row["retain_threshold"], row["n"]): len(row["latents"]) for row in output.unstructured["latents"]}
    values = {(m.metric, *m.at.values()): m.value or 0.0 for m in output.measurements}
    return {
        (float(threshold), available[threshold, n], int(multiplier)): SaeBenchAccuracies(
            value, values["side_effect_accuracy", threshold, n, multiplier]
        )
        for (metric, threshold, n, multiplier), value in ((k, v) for k, v in values.items() if len(k) == 4)
        if metric == "forget_accuracy"
    }
