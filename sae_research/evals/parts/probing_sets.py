"""The texts of sparse probing and TPP, from their settings: the same for every engine that computes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sae_research.data.labelled import LabelledSet, load_labelled
from sae_research.evals.base import EvalContext

if TYPE_CHECKING:  # Whoever reads the data does not depend on how it is measured.
    from sae_research.evals.sparse_probing import SparseProbingSettings
    from sae_research.evals.tpp import TppSettings


def probing_sets(context: EvalContext, settings: SparseProbingSettings | TppSettings) -> list[LabelledSet]:
    """All data sets before any of them is probed: a class that is too small must not show after an hour."""
    return [
        load_labelled(
            context.hub,
            name,
            train_per_class=settings.train_size // 2,
            test_per_class=settings.test_size // 2,
            seed=context.seed,
        )
        for name in settings.dataset_names
    ]
