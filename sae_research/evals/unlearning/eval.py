"""Unlearning: how much hazardous knowledge clamping a few latents removes while harmless knowledge stays.

Latents that fire on a forget corpus and hardly ever on a retain corpus are set to a negative value wherever they fire
in multiple-choice questions; the rest of the activation, including the SAE's error, does not change.

Sign policy: a latent fires where its code is not 0, and a clamped code z becomes -multiplier x sign(z), on the other
side of 0. For codes that are never negative this is SAEBench's clamp to -multiplier; SAEBench neither counts nor clamps
negative codes.

Farrell et al. 2024, https://arxiv.org/abs/2410.19278; WMDP: Li et al. 2024, https://arxiv.org/abs/2403.03218
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sae_research.evals.base import INTERPOLATES_HERE, DataSet, Eval, EvalContext, Outcome, PartsFigure, SaeBenchSchema
from sae_research.evals.unlearning.corpora import Corpus, corpus_files
from sae_research.evals.unlearning.questions import QuestionSource
from sae_research.evals.unlearning.settings import UnlearningSettings
from sae_research.measurements import EvalOutput, LatentNote, MetricSpec

if TYPE_CHECKING:
    from sae_research.saes.base import Sae


def data(settings: UnlearningSettings) -> list[DataSet]:
    """Two corpora and two sets of questions."""

    def corpus(field: str, source: Corpus) -> DataSet:
        return DataSet(field, source.dataset, lambda hub: corpus_files(hub, source).revision)

    def questions(field: str, source: QuestionSource) -> DataSet:
        return DataSet(field, source.dataset, lambda hub: hub.dataset_revision(source.dataset))

    return [
        corpus("forget_corpus", settings.forget_corpus),
        corpus("retain_corpus", settings.retain_corpus),
        questions("forget_questions", settings.forget_questions),
        questions("harmless_questions", settings.harmless_questions),
    ]


def run(context: EvalContext, saes: Sequence[Sae], settings: UnlearningSettings) -> Iterator[Outcome]:
    """The model reads corpora and questions once up to the site for all SAEs; only what follows it runs again."""
    from sae_research.evals.unlearning.measure import load_inputs, measure_unlearning

    yield from measure_unlearning(context, saes, load_inputs(context, settings), settings)


def notes(output: EvalOutput) -> Iterator[LatentNote]:
    """The latents that the chosen intervention clamps."""
    chosen = output.unstructured.get("chosen") or {}
    for clamped in output.unstructured["latents"] if chosen else ():
        if (clamped["retain_threshold"], clamped["n"]) == (chosen["retain_threshold"], chosen["n"]):
            for latent in clamped["latents"]:
                yield LatentNote(latent, "clamped to unlearn", f"one of {len(clamped['latents'])}", at=chosen)


UNLEARNING = Eval(
    name="unlearning",
    section="unlearning",
    settings=UnlearningSettings,
    specs=(
        MetricSpec("unlearning_score", "unlearning", "", "higher", "Unlearning", "unlearning_score", headline=True),
        MetricSpec(
            "chosen_side_effect_accuracy", "unlearning", "", "higher",
            "Accuracy on harmless questions at the chosen setting",
        ),
        MetricSpec("forget_accuracy", "unlearning", "", "lower", "Accuracy on forget questions"),
        MetricSpec("side_effect_accuracy", "unlearning", "", "higher", "Accuracy on harmless questions"),
        INTERPOLATES_HERE,
    ),
    data=data,
    run=run,
    notes=notes,
    main_columns={"unlearning_score": {}},
    not_in_intervals="the texts and questions that choose latents and settings",
    figures=(
        PartsFigure(
            "tradeoff", "forget_accuracy", ("retain_threshold", "n", "multiplier"), "tradeoff",
            "What is kept against what is forgotten", against="side_effect_accuracy",
        ),
    ),
    sae_bench=SaeBenchSchema(type_id="unlearning"),
)  # fmt: skip
