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
from sae_research.evals.ravel.entities import entity_prompts_revision, load_entity_prompts, with_templates
from sae_research.evals.ravel.settings import RavelSettings
from sae_research.evals.ravel.specs import BASELINES, RAVEL_SPECS, REFERENCES, SCORES, SIZES
from sae_research.evals.shared.seeds import check_seeds
from sae_research.sources.hub import Hub

if TYPE_CHECKING:
    from sae_research.saes.base import Sae


def data(settings: RavelSettings) -> list[DataSet]:
    """The prompts about entities."""
    entity_class, attributes = next(iter(settings.attributes.items()))

    def revision(hub: Hub) -> str:
        return entity_prompts_revision(hub, settings.dataset, entity_class, attributes)

    return [DataSet("dataset", settings.dataset, revision)]


def run(context: EvalContext, saes: Sequence[Sae], settings: RavelSettings) -> Iterator[Outcome]:
    """Masks of all SAEs, trained and tested on the same pairs; one run of the model represents them at all sites."""
    from sae_research.evals.ravel.measure import measure_ravel

    prompts = {
        entity_class: with_templates(
            load_entity_prompts(context.hub, settings.dataset, entity_class, attributes), settings.templates
        )
        for entity_class, attributes in settings.attributes.items()
    }
    yield from measure_ravel(context, saes, prompts, settings)


def check(settings: RavelSettings, random_seed: int) -> None:
    """The run's own seed is no further one."""
    check_seeds(settings.seeds, random_seed, section="ravel")


RAVEL = Eval(
    name="ravel",
    section="ravel",
    settings=RavelSettings,
    specs=RAVEL_SPECS,
    data=data,
    run=run,
    sites_together=True,
    check=check,
    main_columns={"disentanglement_score": {}},
    not_in_intervals="the entities and the seed with which masks are trained, unless `seeds` repeats the latter",
    figures=tuple(
        PartsFigure("panels", score, ("entity", "attribute"), "by_attribute", f"{title} by attribute")
        for score, title in SCORES.items()
    ),
    references=REFERENCES,
    baselines=BASELINES,
    sizes=tuple(SIZES),
    sae_bench=SaeBenchSchema(type_id="ravel"),
)
