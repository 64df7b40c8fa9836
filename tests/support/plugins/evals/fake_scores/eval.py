"""Explained variance with little and much noise, its negative, L0, and a constant: none of them measures more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sae_research.evals.base import DataSet, Eval, EvalContext, Outcome
from sae_research.measurements import MetricSpec

from .settings import FakeScoresSettings

if TYPE_CHECKING:
    from sae_research.saes.base import Sae


def data(settings: FakeScoresSettings) -> list[DataSet]:
    """The running text."""
    return [DataSet("dataset", settings.dataset, lambda hub: hub.dataset_revision(settings.dataset))]


def run(context: EvalContext, saes: Sequence[Sae], settings: FakeScoresSettings) -> Iterator[Outcome]:
    """One pass of the language model for all SAEs, which share a site."""
    from .measure import measure_fake_scores

    yield from measure_fake_scores(context, saes, settings)


FAKE_SCORES = Eval(
    name="fake_scores",
    section="fake_scores",
    settings=FakeScoresSettings,
    specs=tuple(
        MetricSpec(name, "fake", "", "higher", title, headline=True)
        for name, title in (
            ("little_noise", "Explained variance, little noise"),
            ("much_noise", "Explained variance, much noise"),
            ("negative", "Minus explained variance"),
            ("fires", "L0 again"),
            ("constant", "A constant"),
        )
    ),
    data=data,
    run=run,
)
