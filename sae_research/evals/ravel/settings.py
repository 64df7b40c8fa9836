"""Which facts RAVEL asks for, and how masks are trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from sae_research.records import at_least, distinct

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
        at_least(self, top_n_entities=2, num_pairs_per_attribute=2, n_generated_tokens=1)
        at_least(self, batch_size=1, num_epochs=1, das_dimension=1)
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
        distinct(self, "baselines", may_be_empty=True)
