"""Absorption: how often the latent of a word's first letter is silent because a narrower latent carries the letter.

Lower is better for all scores.

Sign policy: codes count with their sign. A split latent with a negative code is silent, because it does not stand for
the letter; a latent contributes code x cosine with the probe, and only latents with a positive cosine can absorb.

Chanin et al. 2024, "A is for Absorption", https://arxiv.org/abs/2409.14507, in SAEBench's form
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sae_research.evals.absorption.settings import AbsorptionSettings
from sae_research.evals.absorption.specs import ABSORPTION_SPECS
from sae_research.evals.base import DataSet, Eval, EvalContext, Outcome, PartsFigure, SaeBenchSchema
from sae_research.measurements import EvalOutput, LatentNote

if TYPE_CHECKING:
    from sae_research.saes.base import Sae


def data(_settings: AbsorptionSettings) -> list[DataSet]:
    """None: the words come from the tokenizer."""
    return []


def run(context: EvalContext, saes: Sequence[Sae], settings: AbsorptionSettings) -> Iterator[Outcome]:
    """The language model reads one prompt per word, then the detected words in new prompts, once for all SAEs."""
    from sae_research.evals.absorption.measure import measure_absorption

    yield from measure_absorption(context, saes, settings)


def _by_letter(metric: str, title: str) -> PartsFigure:
    return PartsFigure(
        "heatmap", metric, ("letter",), "by_letter", f"{title} by letter (lower is better)", "First letter",
        mean=f"mean_{metric}",
    )  # fmt: skip


def notes(output: EvalOutput) -> Iterator[LatentNote]:
    """The latents that a letter is split into, in the order in which a probe takes them."""
    for letter, split in output.unstructured.get("split_features", {}).items():
        for place, latent in enumerate(split, start=1):
            text = f"{letter}, {place} of {len(split)}"
            yield LatentNote(latent, "latent of a first letter", text, at={"letter": letter})


ABSORPTION = Eval(
    name="absorption",
    section="absorption",
    settings=AbsorptionSettings,
    specs=ABSORPTION_SPECS,
    data=data,
    run=run,
    notes=notes,
    main_columns={"mean_absorption_fraction_score": {}, "mean_full_absorption_score": {}},
    not_in_intervals="the words that the probes are trained on",
    figures=(
        _by_letter("absorption_fraction_score", "Absorption fraction"),
        _by_letter("full_absorption_score", "Full absorption"),
        _by_letter("num_split_features", "Split latents"),
    ),
    sae_bench=SaeBenchSchema(
        type_id="absorption_first_letter",
        required_details=frozenset(
            {
                "mean_absorption_fraction",
                "full_absorption_rate",
                "num_full_absorption",
                "num_probe_true_positives",
                "num_split_features",
            }
        ),
        config_names={"min_probe_f1": "min_GT_probe_f1"},
    ),
)
