"""Sensitivity: does a latent fire again on new texts that a judge writes after its examples?

A judge is shown the texts on which a latent is most active, and writes more of their kind. The latent should be active
on them, as it is on its examples, and not on the texts that were written for another latent.

Sign policy: a latent's activation is its code times the sign that carries more of its energy; the share of latents
whose negative codes count is reported. sae-sensitivity counts positive codes alone.

sae-sensitivity: https://arxiv.org/abs/2509.23717
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sae_research.evals.base import DataSet, Eval, EvalContext, Outcome, PartsFigure
from sae_research.evals.judged.counts import N_KNOWN
from sae_research.evals.judged.settings import judge_data, judge_modules
from sae_research.evals.judged.specs import COMPLIANCE, NOT_IN_INTERVALS, WRITING_SPECS
from sae_research.evals.sensitivity.published_files import published_data
from sae_research.evals.sensitivity.settings import SensitivitySettings
from sae_research.evals.sensitivity.specs import (
    BY_DENSITY,
    CHOSEN,
    CONTRAST,
    CONTRAST_BY_DENSITY,
    LATENTS,
    ORIGINAL,
    SENSITIVITY,
    SENSITIVITY_SPECS,
)
from sae_research.evals.shared.text_data import text_data
from sae_research.judges.estimates import Asks
from sae_research.measurements import EvalOutput, LatentNote

if TYPE_CHECKING:
    from sae_research.saes.base import Sae


def data(settings: SensitivitySettings) -> list[DataSet]:
    """The running text, what determines the judge, and published examples."""
    return [text_data("dataset", settings.dataset), *judge_data(settings), *published_data(settings)]


def asks(settings: SensitivitySettings) -> list[Asks]:
    """Texts for each latent, and for artificial ones that are one word."""
    return [Asks("texts", settings.writing, settings.counts.n_explain, per_sae=settings.n_latents, for_all=N_KNOWN)]


def run(context: EvalContext, saes: Sequence[Sae], settings: SensitivitySettings) -> Iterator[Outcome]:
    """One pass of the language model over the corpus and one over all texts; the requests of all SAEs go together."""
    from sae_research.evals.sensitivity.measure import measure_sensitivity

    yield from measure_sensitivity(context, saes, settings)


def notes(output: EvalOutput) -> Iterator[LatentNote]:
    """The sensitivity of each latent that the judge wrote texts for."""
    for row in output.details:
        if row["n_texts"]:
            yield LatentNote(
                row["latent"], "sensitivity", None,
                row["sensitivity_0"], row["sensitivity_0_low"], row["sensitivity_0_high"], row["reason"],
            )  # fmt: skip


SENSITIVITY_EVAL = Eval(
    name="sensitivity",
    section="sensitivity",
    settings=SensitivitySettings,
    specs=(*SENSITIVITY_SPECS, *WRITING_SPECS),
    data=data,
    run=run,
    notes=notes,
    modules=judge_modules,
    asks=asks,
    takes={"texts": "dataset"},
    main_columns={SENSITIVITY: {"percent": 0}, CONTRAST: {"percent": CHOSEN}},
    not_in_intervals=NOT_IN_INTERVALS,
    sizes=(LATENTS, COMPLIANCE),
    figures=(
        PartsFigure(
            "panels", ORIGINAL, ("percent",), "panels", "Sensitivity to the latents' own examples against L0",
        ),
        PartsFigure(
            "against", SENSITIVITY, ("percent",), "against_original",
            "Sensitivity to the judge's texts against that to the latents' own examples", against=ORIGINAL,
        ),
        PartsFigure(
            "curve", BY_DENSITY, ("density_below",), "by_density",
            "Sensitivity against the density of latents", "density of the latents, below",
        ),
        PartsFigure(
            "curve", CONTRAST_BY_DENSITY, ("density_below",), "by_density",
            "Sensitivity above that to other latents' texts, against the density of latents",
            "density of the latents, below",
        ),
    ),
)  # fmt: skip
