"""Autointerp: can a judge tell where a latent is active from an explanation that it wrote of it?

A judge explains a latent from marked examples, then says of 14 other windows which of them the explanation fits; four
hold an activation. The same windows with another latent's explanation are the control.

Sign policy: a latent's activation is its code times the sign that carries more of its energy; the share of latents
whose negative codes count is reported. SAEBench counts positive codes alone.

Paulo et al. 2024, https://arxiv.org/abs/2410.13928, in SAEBench's form
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sae_research.evals.autointerp.settings import AutointerpSettings
from sae_research.evals.autointerp.specs import AUTOINTERP_SPECS, BALANCED, BY_DENSITY, GAIN, LATENTS
from sae_research.evals.base import DataSet, Eval, EvalContext, Outcome, PartsFigure, SaeBenchSchema
from sae_research.evals.judged.counts import N_KNOWN, Counts
from sae_research.evals.judged.settings import judge_data, judge_modules
from sae_research.evals.judged.specs import DETECTING_SPECS, GOLD, NOT_IN_INTERVALS, NULL
from sae_research.evals.shared.text_data import text_data
from sae_research.evals.windows.size import BUFFER
from sae_research.judges.estimates import Asks
from sae_research.measurements import EvalOutput, LatentNote

if TYPE_CHECKING:
    from sae_research.saes.base import Sae


_COUNTS = Counts()


def data(settings: AutointerpSettings) -> list[DataSet]:
    """The running text, and what determines the judge."""
    return [text_data("dataset", settings.dataset), *judge_data(settings)]


def asks(settings: AutointerpSettings) -> list[Asks]:
    """An explanation of each latent, what fits it, and what fits another one's; the same of latents that are known."""
    n, known = settings.n_latents, 2 * N_KNOWN
    return [
        Asks("explanations", settings.explaining, windows=_COUNTS.n_explain, per_sae=n, for_all=known),
        Asks("predictions", settings.scoring, windows=_COUNTS.n_scored, per_sae=2 * n, for_all=known),
    ]


def run(context: EvalContext, saes: Sequence[Sae], settings: AutointerpSettings) -> Iterator[Outcome]:
    """One pass of the language model over the text for all SAEs; their requests go to the judge together."""
    from sae_research.evals.autointerp.measure import measure_autointerp

    yield from measure_autointerp(context, saes, settings)


def notes(output: EvalOutput) -> Iterator[LatentNote]:
    """The explanation of each latent that the judge explained, with its score."""
    for row in output.unstructured.values():
        if row["explanation"] is not None:
            yield LatentNote(
                row["latent"], "explanation", row["explanation"],
                row["score"], row["score_low"], row["score_high"], row["reason"],
            )  # fmt: skip


AUTOINTERP = Eval(
    name="autointerp",
    section="autointerp",
    settings=AutointerpSettings,
    specs=(*AUTOINTERP_SPECS, *DETECTING_SPECS),
    data=data,
    run=run,
    notes=notes,
    modules=judge_modules,
    asks=asks,
    takes={"texts": "dataset"},
    main_columns={BALANCED: {}, GAIN: {}},
    not_in_intervals=NOT_IN_INTERVALS,
    sizes=(LATENTS, GOLD, NULL),
    figures=(
        PartsFigure(
            "curve", BY_DENSITY, ("density_below",), "by_density",
            "Balanced accuracy of autointerp against the density of latents", "density of the latents, below",
        ),
    ),
    sae_bench=SaeBenchSchema(
        type_id="autointerp",
        config_names={
            "dataset": "dataset_name",
            "context_size": "llm_context_size",
            "min_firings": "dead_latent_threshold",
        },
        config_constants={
            "override_latents": None,
            "buffer": BUFFER,
            "no_overlap": True,
            "act_threshold_frac": 0.01,
            "scoring": True,
            "use_demos_in_explanation": False,
            "n_top_ex_for_generation": _COUNTS.top_explain,
            "n_iw_sampled_ex_for_generation": _COUNTS.weighted_explain,
            "n_top_ex_for_scoring": _COUNTS.top_score,
            "n_random_ex_for_scoring": _COUNTS.silent,
            "n_iw_sampled_ex_for_scoring": _COUNTS.weighted_score,
        },
    ),
)  # fmt: skip
