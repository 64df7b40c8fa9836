"""RAVEL: whether a few latents carry one attribute of an entity (a city's country) and leave the others alone.

A mask over latents is trained so that, at the entity's last token, taking the masked codes from another entity's prompt
makes the model name the other entity's attribute (cause) and leaves its answers on other attributes as they were
(isolation). The score is the mean of both on pairs not trained on.

Sign policy: a masked code is replaced by the other entity's as it is, sign included; no sign is favoured.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, final

from sae_research.data.entities import entity_prompts_revision, load_entity_prompts
from sae_research.evals.base import Eval, EvalContext, Outcome
from sae_research.hub import Hub
from sae_research.metrics.ravel_specs import RAVEL_SPECS

if TYPE_CHECKING:
    from sae_research.saes.base import Sae

Baseline = Literal["noop", "full_swap", "neurons", "pca", "rotation", "das", "mdas"]


def _published_attributes() -> Mapping[str, tuple[str, ...]]:
    return {
        "city": ("Country", "Continent", "Language"),
        "nobel_prize_winner": ("Country of Birth", "Field", "Gender"),
    }


@dataclass(frozen=True)
class RavelSettings:
    """Which facts are asked for, and how masks are trained."""

    dataset: str = "adamkarvonen/ravel_prompts"
    """The prompts: a hub id or local folder with RAVEL's JSON tables, or `embedded/cities`."""
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=_published_attributes)
    """For each class of entities the attributes to tell apart, at least two."""
    top_n_entities: int = 500
    """Entities kept of each class: those that the model answers most prompts about correctly."""
    num_pairs_per_attribute: int = 5000
    """Pairs of prompts for cause, and as many for isolation, at most."""
    train_share: float = 0.7
    """Share of the pairs that masks are trained on."""
    split: Literal["entity", "sae_bench"] = "entity"
    """`entity`: no entity of a test pair occurs in training (the data set's own split of entities). `sae_bench`: pairs
    are divided at random, as SAEBench does; the entities of test pairs have then been seen."""
    answer: Literal["generation", "first_token"] = "generation"
    """`generation`: `n_generated_tokens` are written and compared with the value as SAEBench does. `first_token`: the
    next token is the first one of the value."""
    n_generated_tokens: int = 6
    """Tokens written after a prompt, for `answer: generation`."""
    batch_size: int = 8
    """Pairs of one training step; SAEBench's for Gemma 2 2B (64 for Pythia)."""
    num_epochs: int = 2
    """Passes over the training pairs."""
    learning_rate: float = 1e-3
    """Adam's, for masks."""
    rotation_learning_rate: float = 1e-3
    """Adam's, for the rotations of `das` and `mdas`."""
    das_dimension: int = 64
    """Dimensions of the subspace that `das` swaps."""
    baselines: tuple[Baseline, ...] = ("noop", "full_swap", "neurons", "pca", "rotation", "das", "mdas")
    """What SAEs are compared with, measured once for a site."""

    def __post_init__(self) -> None:
        least = {"top_n_entities": 2, "num_pairs_per_attribute": 2, "n_generated_tokens": 1, "batch_size": 1,
                 "num_epochs": 1, "das_dimension": 1}  # fmt: skip
        for name, smallest in least.items():
            if getattr(self, name) < smallest:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least {smallest}")
        if not 0 < self.train_share < 1:
            raise ValueError(f"train_share is {self.train_share}, expected more than 0 and less than 1")
        for name in ("learning_rate", "rotation_learning_rate"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected more than 0")
        if not self.attributes:
            raise ValueError("attributes is empty, expected at least one class of entities")
        for entity_class, names in self.attributes.items():
            if len(set(names)) < 2 or len(set(names)) != len(names):
                raise ValueError(
                    f"attributes.{entity_class} is {list(names)}, expected two or more, none of them twice"
                )
        if len(set(self.baselines)) != len(self.baselines):
            raise ValueError(f"baselines holds a value twice: {list(self.baselines)}")


@final
class Ravel(Eval):
    """Masks of all SAEs of a site, trained and tested on the same pairs; what precedes the site is run once."""

    name = "ravel"
    section = "ravel"
    specs = RAVEL_SPECS

    @classmethod
    def data_revisions(cls, settings: RavelSettings, hub: Hub) -> Mapping[str, str]:
        first = next(iter(settings.attributes))
        return {settings.dataset: entity_prompts_revision(hub, settings.dataset, first)}

    @classmethod
    def modules_by_name(cls, settings: RavelSettings) -> tuple[str, ...]:
        return ()

    @classmethod
    def run(cls, context: EvalContext, saes: Sequence[Sae], settings: RavelSettings) -> Iterator[Outcome]:
        if not saes:
            return
        from sae_research.evals.parts.ravel_pass import measure_ravel

        prompts = {
            entity_class: load_entity_prompts(context.hub, settings.dataset, entity_class, attributes)
            for entity_class, attributes in settings.attributes.items()
        }
        yield from measure_ravel(context, saes, prompts, settings)
