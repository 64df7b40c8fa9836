"""The texts of sparse probing and TPP, from their settings; the same for our implementation and SAEBench's."""

from __future__ import annotations

from typing import Protocol

from sae_research.data.labelled import LabelledSet, load_labelled
from sae_research.evals.base import EvalContext


class ProbingTexts(Protocol):
    """Labelled data sets, and how many of their texts each probe reads."""

    @property
    def dataset_names(self) -> tuple[str, ...]: ...
    @property
    def train_size(self) -> int: ...
    @property
    def test_size(self) -> int: ...


def probing_sets(context: EvalContext, settings: ProbingTexts) -> list[LabelledSet]:
    """All data sets, loaded before any is probed so that a class that is too small shows at once."""
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
