"""What an eval declares of itself: its settings, metrics, data, figures, and the function that runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from sae_research.measurements import EvalOutput, MetricSpec
from sae_research.progress import Progress
from sae_research.sources.hub import Hub

if TYPE_CHECKING:  # Both import torch, which planning does without.
    from sae_research.lm.model import LanguageModel
    from sae_research.saes.base import Sae

PartsFigureKind = Literal["curve", "heatmap", "panels", "tradeoff"]


@dataclass(frozen=True)
class EvalContext:
    """What an eval works with, besides its settings."""

    lm: LanguageModel
    hub: Hub
    seed: int
    batch_size: int
    """Sequences per language-model batch: changes speed and memory, never a number."""
    progress: Progress


class Outcome(NamedTuple):
    """One SAE's result, or the error that stopped it while the other SAEs went on."""

    sae: Sae
    output: EvalOutput | None
    error: Exception | None


Run = Callable[[EvalContext, Sequence["Sae"], Any], Iterator[Outcome]]
"""Measures SAEs that share one site with given settings; one outcome per SAE."""


@dataclass(frozen=True)
class DataSet:
    """A data set that an eval's settings name."""

    field: str
    """The settings field that names it, for error messages: `dataset_names`."""
    name: str
    revision: Callable[[Hub], str]
    """The revision that determines its content; downloads nothing."""
    reader: str | None = None
    """The module that reads it, where that is found by name rather than imported: its code counts for the key."""
    require: Callable[[], None] = lambda: None
    """Raises a UserError that lists what is valid where there is no such data set; reads nothing."""


@dataclass(frozen=True)
class PartsFigure:
    """A figure of a metric at several places: by letter, by attribute, by number of latents, by intervention."""

    kind: PartsFigureKind
    """`curve`: the metric over one place. `heatmap`: SAE by place. `panels`: L0 against the metric, one panel per
    place. `tradeoff`: the metric against `against`, over all places."""
    metric: str
    places: tuple[str, ...]
    """The keys of `Measurement.at` that tell the parts apart, outermost first."""
    suffix: str
    """Ends the file's name."""
    caption: str
    axis: str = ""
    """What the places are, beside the axis."""
    against: str | None = None
    """A `tradeoff`'s second metric."""
    mean: str | None = None
    """The metric that holds the mean over places, drawn beside a `heatmap`."""


@dataclass(frozen=True)
class OverviewPanel:
    """An eval's panel in the overview, the picture that the README shows: L0 against one metric at one place."""

    position: int
    """Panels stand from left to right by position."""
    metric: str
    at: Mapping[str, int] = field(default_factory=dict)
    """The place, `{"k": 1}`; where it was not measured, the nearest one that was."""


@dataclass(frozen=True)
class SaeBenchSchema:
    """How SAEBench reports the same eval. Its keys and categories stand in the metrics' specs."""

    type_id: str
    """Its `eval_type_id`."""
    optional: frozenset[str] | None = frozenset()
    """Keys that its class lets be null; None: all of them. The other keys are required numbers."""
    whole: frozenset[str] = frozenset()
    """Keys that its class wants as whole numbers."""
    required_details: frozenset[str] = frozenset()
    """Number fields of its `eval_result_details` that may not be null."""
    minus_one_is_missing: bool = False
    """Whether -1 stands for a number that it does not have (a difference of accuracies can really be -1)."""
    other_formula: frozenset[str] = frozenset()
    """Keys that it computes by another formula; its own number is our metric `<name>_sae_bench`."""
    config_names: Mapping[str, str] = field(default_factory=dict)
    """Its name for each of our settings that it has under another name."""
    config_constants: Mapping[str, Any] = field(default_factory=dict)
    """Choices that it offers and we always make one way."""


@dataclass(frozen=True)
class Eval:
    """One eval. Whatever else has to know of it - parameters, keys, documents, report, plots - derives from this."""

    name: str
    """Its name in `eval_types`, and of its folder in `eval_results/`."""
    section: str
    """The section of `params.yaml` that holds its settings."""
    settings: type
    """The frozen record of its settings."""
    specs: tuple[MetricSpec, ...]
    data: Callable[[Any], Sequence[DataSet]]
    """The data sets that settings name."""
    run: Run
    has_own_stage: bool = False
    """Whether DVC has a stage for it alone; the others share `optional_evals`."""
    takes: Mapping[str, str] = field(default_factory=dict)
    """Arguments of `sae_research.evaluate` that stand in for data sets, and the settings field that names them."""
    figures: tuple[PartsFigure, ...] = ()
    overview: OverviewPanel | None = None
    references: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By an SAE's metric, the metrics that need no SAE to hold it against, at the same place or at the only one."""
    place_titles: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """What the values of a place mean, in words: place, value, title."""
    sae_bench: SaeBenchSchema | None = None
    """None: SAEBench has no such eval."""

    @property
    def module(self) -> str:
        """The module that declares it; what it reaches by imports is the code behind its numbers."""
        return self.run.__module__
