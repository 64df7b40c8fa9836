"""RAVEL: whether a few latents carry one attribute of an entity (a city's country) and leave the others alone.

A mask over latents is trained so that, at the entity's last token, taking the masked codes from another entity's prompt
makes the model name the other entity's attribute (cause) and does not change its answers on other attributes
(isolation). The score is the mean of both on pairs that were not used for training.

Sign policy: a masked code is replaced by the other entity's code, sign included; no sign is favoured.

Huang et al. 2024, https://arxiv.org/abs/2402.17700; for SAEs: Chaudhary and Geiger 2024, https://arxiv.org/abs/2409.04478
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sae_research.evals.base import DataSet, Eval, EvalContext, Outcome, PartsFigure, SaeBenchSchema
from sae_research.evals.ravel.entities import entity_prompts_revision, load_entity_prompts
from sae_research.evals.ravel.settings import RavelSettings
from sae_research.evals.ravel.specs import BASELINE, BASELINES, RAVEL_SPECS, SCORES, SIZES, WITH_ERROR

if TYPE_CHECKING:
    from sae_research.saes.base import Sae


def data(settings: RavelSettings) -> list[DataSet]:
    """The prompts about entities."""
    first = next(iter(settings.attributes))
    return [DataSet("dataset", settings.dataset, lambda hub: entity_prompts_revision(hub, settings.dataset, first))]


def run(context: EvalContext, saes: Sequence[Sae], settings: RavelSettings) -> Iterator[Outcome]:
    """Masks of all SAEs, trained and tested on the same pairs; the model runs once up to the site."""
    from sae_research.evals.ravel.measure import measure_ravel

    prompts = {
        entity_class: load_entity_prompts(context.hub, settings.dataset, entity_class, attributes)
        for entity_class, attributes in settings.attributes.items()
    }
    yield from measure_ravel(context, saes, prompts, settings)


RAVEL = Eval(
    name="ravel",
    section="ravel",
    settings=RavelSettings,
    specs=RAVEL_SPECS,
    data=data,
    run=run,
    main_columns={"disentanglement_score": {}},
    not_in_intervals="the entities and the seed with which masks are trained",
    figures=tuple(
        PartsFigure("panels", score, ("entity", "attribute"), "by_attribute", f"{title} by attribute")
        for score, title in SCORES.items()
    ),
    references={f"{prefix}{score}": (f"{BASELINE}{score}",) for prefix in ("", WITH_ERROR) for score in SCORES},
    baselines=BASELINES,
    sizes=tuple(SIZES),
    sae_bench=SaeBenchSchema(type_id="ravel"),
)
