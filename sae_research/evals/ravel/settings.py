"""Which facts RAVEL asks about, and how masks are trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from sae_research.records import at_least, distinct

Baseline = Literal["noop", "full_swap", "neurons", "pca", "rotation", "das", "mdas"]


_PUBLISHED_ATTRIBUTES = {
    "city": ("Country", "Continent", "Language"),
    "nobel_prize_winner": ("Country of Birth", "Field", "Gender"),
}


VALIDATION_SHARE = 0.1
"""Of the pairs under `split: original`: set aside between those for training and for tests, and not used here."""


@dataclass(frozen=True)
class RavelSettings:
    """Which facts to ask about, and how to train masks."""

    dataset: str = "adamkarvonen/ravel_prompts"
    """The prompts: a hub id or local folder with RAVEL's JSON tables, or `embedded/cities`."""
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: dict(_PUBLISHED_ATTRIBUTES))
    """For each class of entities, the attributes to disentangle; at least two."""
    templates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By attribute: prompts with `%s` in place of the entity, asked in place of the data set's."""
    prepend_bos: bool = True
    """Whether prompts begin with BOS."""
    top_n_entities: int = 500
    """Entities per class: those about which the model answers most prompts correctly."""
    num_pairs_per_attribute: int = 5000
    """Maximum number of pairs of prompts for cause, and for isolation."""
    train_share: float = 0.7
    """Share of the pairs that is used for training."""
    split: Literal["entity", "sae_bench", "original"] = "entity"
    """`entity`: no entity of a test pair occurs in training (the data set's split of entities). `sae_bench`: pairs are
    split at random as in SAEBench, so training has seen the entities of test pairs. `original`: all ordered pairs of
    the entities that the model knows by every attribute, an entity with itself too, split at random as by Chaudhary and
    Geiger."""
    answer: Literal["generation", "first_token"] = "generation"
    """`generation`: `n_generated_tokens` are generated and compared with the value as in SAEBench. `first_token`: the
    next token must be the first token of the value."""
    n_generated_tokens: int = 6
    """Tokens generated after a prompt, for `answer: generation`."""
    batch_size: int = 8
    """Pairs per training step; SAEBench's for Gemma 2 2B (64 for Pythia)."""
    num_epochs: int = 2
    """Passes over the training pairs."""
    hottest: float = 1.0
    """The temperature of masks in the first training step."""
    coldest: float = 1e-4
    """Their temperature in the last step, and that at which soft masks are tested."""
    cooling: Literal["log", "linear"] = "log"
    """How the temperature falls from step to step: evenly in its logarithm, as in SAEBench, or evenly."""
    train_with_error: bool = False
    """Whether the base keeps its reconstruction error while a mask is trained. It is tested with and without."""
    learning_rate: float = 1e-3
    """Adam's, for masks."""
    rotation_learning_rate: float = 1e-3
    """Adam's, for the rotations of `das` and `mdas`."""
    das_dimension: int = 64
    """Dimensions of the subspace that `das` swaps."""
    baselines: tuple[Baseline, ...] = ("noop", "full_swap", "neurons", "pca", "rotation", "das", "mdas")
    """Baselines, measured once per site."""
    seeds: tuple[int, ...] = ()
    """Further seeds, beside `random_seed`, with which pairs are drawn and masks are trained again; scores are means
    over all of them."""

    def __post_init__(self) -> None:
        at_least(self, top_n_entities=2, num_pairs_per_attribute=2, n_generated_tokens=1)
        at_least(self, batch_size=1, num_epochs=1, das_dimension=1)
        if not 0 < self.train_share < 1:
            raise ValueError(f"train_share is {self.train_share}, expected more than 0 and less than 1")
        if self.split == "original" and self.train_share + VALIDATION_SHARE >= 1:
            raise ValueError(f"train_share is {self.train_share}, expected less than {1 - VALIDATION_SHARE} here")
        for name in ("learning_rate", "rotation_learning_rate", "coldest"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected more than 0")
        if self.hottest < self.coldest:
            raise ValueError(f"hottest is {self.hottest}, expected at least coldest, {self.coldest}")
        if not self.attributes:
            raise ValueError("attributes is empty, expected at least one class of entities")
        for entity_class, names in self.attributes.items():
            if len(set(names)) < 2 or len(set(names)) != len(names):
                raise ValueError(f"attributes.{entity_class} is {list(names)}, expected at least two, and none twice")
        self._check_templates()
        distinct(self, "baselines", "seeds", may_be_empty=True)

    def _check_templates(self) -> None:
        asked = {name for names in self.attributes.values() for name in names}
        for attribute, templates in self.templates.items():
            if attribute not in asked:
                raise ValueError(f"templates: {attribute!r} is none of the attributes; valid: {', '.join(asked)}")
            wrong = [template for template in templates if template.count("%s") != 1]
            if wrong or len(set(templates)) != len(templates) or not templates:
                raise ValueError(
                    f"templates.{attribute} is {list(templates)}, expected different texts with one %s each"
                )
