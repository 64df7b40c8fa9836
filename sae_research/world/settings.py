"""Settings of the embedded world: a seed, a size, and the numbers behind each size. Needs no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

from sae_research.code_version import code_version
from sae_research.digests import digest_of

Size = Literal["default", "tiny"]

LM_UNITS = 8
"""A training step of the language model takes about as long as this many steps of an SAE; for progress bars."""


@dataclass(frozen=True)
class Recipe:
    """The numbers behind a size."""

    n_documents: int
    """Documents for training the language model and the SAEs."""
    n_held_out: int
    """Documents of the `text` data set's test split, which are used in no training."""
    train_per_class: int
    """Labelled training texts per class (per profession and gender, per category and rating, ...)."""
    test_per_class: int
    vocab_size: int
    context_size: int
    d_model: int
    n_layers: int
    n_heads: int
    lm_steps: int
    lm_batch_size: int
    """Rows of `context_size` tokens per training step of the language model."""
    d_sae: int
    sae_steps: int
    sae_batch_size: int
    """Activations per training step of the SAEs; each activation is used once."""
    n_workers: int
    """Threads that share the training. Weights depend on their number, which decides the order of sums."""


RECIPES: dict[str, Recipe] = {
    "default": Recipe(
        n_documents=42_000, n_held_out=4_000, train_per_class=500, test_per_class=150,
        vocab_size=3072, context_size=128, d_model=128, n_layers=4, n_heads=4, lm_steps=1000, lm_batch_size=16,
        d_sae=1024, sae_steps=400, sae_batch_size=1024,
        n_workers=2,
    ),
    "tiny": Recipe(
        n_documents=1_200, n_held_out=200, train_per_class=60, test_per_class=30,
        vocab_size=1280, context_size=128, d_model=32, n_layers=2, n_heads=2, lm_steps=60, lm_batch_size=4,
        d_sae=128, sae_steps=40, sae_batch_size=256,
        n_workers=1,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class WorldSettings:
    """The embedded world's part of `params.yaml`."""

    seed: int = 0
    """Seeds grammar, texts, labels and training; another seed is another world with other words."""
    size: Size = "default"
    """`default`, or `tiny`: builds in seconds, for tests; its model has learnt next to nothing."""

    @property
    def recipe(self) -> Recipe:
        """The numbers that `size` stands for."""
        return RECIPES[self.size]

    @property
    def key(self) -> str:
        """Digest of everything that determines the world: seed, recipe and the code that builds it."""
        return digest_of(
            {"seed": self.seed, "recipe": asdict(self.recipe), "code": code_version("sae_research.world.build")}
        )
