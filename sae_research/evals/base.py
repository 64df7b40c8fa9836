"""The declaration of an eval: its settings, metrics, data, figures, and the function that runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from sae_research.measurements import EvalOutput, LatentNote, MetricSpec
from sae_research.progress import Progress
from sae_research.sources.described import DescribedSet
from sae_research.sources.hub import Hub

if TYPE_CHECKING:  # These import torch, which planning does not need.
    from torch import Tensor

    from sae_research.evals.model_results import ModelResults
    from sae_research.judges.access import JudgeAccess
    from sae_research.judges.estimates import Asks
    from sae_research.lm.model import LanguageModel
    from sae_research.saes.base import Sae

INTERPOLATES_HERE = MetricSpec(
    "interpolates_here", "sparsity", "", "lower", "Share of this eval's sequences that the support interpolates"
)
"""Of SAEs of scope `sequence`, in evals whose sequences may be longer or shorter than core's."""

PartsFigureKind = Literal["curve", "heatmap", "panels", "tradeoff", "against"]


@dataclass(frozen=True)
class EvalContext:
    """The arguments of every eval besides SAEs and settings."""

    lm: LanguageModel
    hub: Hub
    seed: int
    batch_size: int
    """Sequences per language-model batch; affects speed and memory, never a number."""
    progress: Progress
    model_results: ModelResults | None = None
    """What was found of the language model alone; None: nothing is kept between runs."""
    requested: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """By SAE, for an eval that `looks_closer`: the latents that the others single out."""

    judges: JudgeAccess | None = None
    """How judges are reached; None: with default settings, answers kept in memory."""

    def recall(self, parts: object) -> Mapping[str, Tensor] | None:
        """What an earlier run kept under `parts`, or None."""
        return None if self.model_results is None else self.model_results.get(parts)

    def keep(self, parts: object, tensors: Mapping[str, Tensor]) -> None:
        """Keeps what holds for any SAE, under all that determines it beside the eval, its settings and the model."""
        if self.model_results is not None:
            self.model_results.put(parts, tensors)


class Outcome(NamedTuple):
    """One SAE's result, or the error that stopped it."""

    sae: Sae
    output: EvalOutput | None
    error: Exception | None


Run = Callable[[EvalContext, Sequence["Sae"], Any], Iterator[Outcome]]
"""Measures SAEs, of one site unless the eval takes `sites_together`, with given settings; one outcome per SAE."""


@dataclass(frozen=True)
class DataSet:
    """A data set that an eval's settings name."""

    field: str
    """The settings field that names it, for error messages, e.g. `dataset_names`."""
    name: str
    revision: Callable[[Hub], str]
    """Returns the revision that determines its content; downloads nothing."""
    repository: str | None = None
    """The repository that holds it, where that has another name."""
    reader: str | None = None
    """The module that reads it, if it is found by name and not imported; its code is part of the key."""
    require: Callable[[Mapping[str, DescribedSet]], None] = lambda _described: None
    """Raises a UserError that lists the valid names if there is no such data set, not even among those that
    `params.yaml` describes; reads nothing."""
    texts: str | None = None
    """What it labels; sets that say the same share texts, which a mean over sets takes for independent."""


@dataclass(frozen=True)
class PartsFigure:
    """A figure of a metric at several places: by letter, by attribute, by number of latents, by intervention."""

    kind: PartsFigureKind
    """`curve`: the metric over one place. `heatmap`: SAE by place. `panels`: L0 against the metric, one panel per
    place. `tradeoff`: the metric against `against`, over all places. `against`: the same for all SAEs, one panel per
    place."""
    metric: str
    places: tuple[str, ...]
    """The keys of `Measurement.at` that distinguish the parts, outermost first."""
    suffix: str
    """The end of the file's name."""
    caption: str
    axis: str = ""
    """The label of the axis with the places."""
    against: str | None = None
    """The other metric of a `tradeoff` or of `against`."""
    mean: str | None = None
    """The metric with the mean over places, drawn beside a `heatmap`."""


@dataclass(frozen=True)
class OverviewPanel:
    """An eval's panel in the overview, the picture that the README shows: L0 against one metric at one place."""

    position: int
    """Panels stand from left to right by position."""
    metric: str
    at: Mapping[str, int] = field(default_factory=dict)
    """The place, `{"k": 1}`; where it was not measured, the nearest one that was."""


@dataclass(frozen=True)
class Baseline:
    """No SAE, but measured like one: what a reference has at the place `baseline`. A line in tables and pictures."""

    title: str
    least_for: frozenset[str] = frozenset()
    """The metrics on which an SAE that learned anything is above it: the report says of each whether one is."""


@dataclass(frozen=True)
class SaeBenchSchema:
    """How SAEBench reports the same eval. Keys and categories are in the metrics' specs."""

    type_id: str
    """Its `eval_type_id`."""
    optional: frozenset[str] | None = frozenset()
    """Keys that may be null in its class; None: all keys. The other keys are required numbers."""
    whole: frozenset[str] = frozenset()
    """Keys that are whole numbers in its class."""
    required_details: frozenset[str] = frozenset()
    """Number fields of its `eval_result_details` that may not be null."""
    details_table: str | None = None
    """Our table whose rows are its `eval_result_details`; None: details are in the document."""
    minus_one_is_missing: bool = False
    """Whether -1 means a missing number (not for differences of accuracies, which can be -1)."""
    other_formula: frozenset[str] = frozenset()
    """Keys that it computes with another formula; its number is our metric `<name>_sae_bench`."""
    config_names: Mapping[str, str] = field(default_factory=dict)
    """Its names of those of our settings that it calls differently."""
    config_constants: Mapping[str, Any] = field(default_factory=dict)
    """Its settings that we do not offer, with the values that match what we do."""


@dataclass(frozen=True)
class Eval:
    """One eval. Parameters, keys, documents, the report and plots derive from this value."""

    name: str
    """Its name in `eval_types`, and the name of its folder in `eval_results/`."""
    section: str
    """The section of `params.yaml` that holds its settings."""
    settings: type
    """The frozen record of its settings."""
    specs: tuple[MetricSpec, ...]
    data: Callable[[Any], Sequence[DataSet]]
    """The data sets that settings name."""
    run: Run
    sites_together: bool = False
    """Whether `run` takes the SAEs of all sites at once; the others are run site by site."""
    looks_closer: bool = False
    """Whether it shows latents and measures nothing: it runs after the others, and its key holds the latents that their
    notes are on."""
    notes: Callable[[EvalOutput], Iterable[LatentNote]] = lambda _output: ()
    """What its result says of single latents."""
    leaves_out: Callable[[Any, str], bool] = lambda _settings, _sae: False
    """Whether the settings leave out the SAE of that name."""
    chooses_saes: frozenset[str] = frozenset()
    """The settings that `leaves_out` reads; they are no part of a key, because they change no number."""
    has_own_stage: bool = False
    """Whether it has a DVC stage of its own; the others share `optional_evals`."""
    check: Callable[[Any, int], None] = lambda _settings, _random_seed: None
    """Raises a ValueError where settings do not go with the run's random seed; reads nothing."""
    modules: Callable[[Any], Sequence[str]] = lambda _settings: ()
    """The modules that settings name and `run` does not import; their code is part of the key."""
    asks: Callable[[Any], Sequence[Asks]] = lambda _settings: ()
    """The requests that settings make of a judge, as many and as long as they can be."""
    takes: Mapping[str, str] = field(default_factory=dict)
    """Arguments of `sae_research.evaluate` that replace data sets, and the settings field that names these."""
    figures: tuple[PartsFigure, ...] = ()
    overview: OverviewPanel | None = None
    main_columns: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """What the report's main table shows of it: metrics, each at a place or the nearest one that was measured. Where
    none was: the first headline metric at its first place."""
    not_in_intervals: str = ""
    """The draws that its intervals leave out, beside the SAE's training seed and the language model that all leave
    out."""
    references: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By an SAE's metric: the metrics without an SAE to compare it with, at the same place or at their only one."""
    baselines: Mapping[str, Baseline] = field(default_factory=dict)
    """By the value of the place `baseline` in references, in the order of legends."""
    sizes: tuple[str, ...] = ()
    """The metrics that say how much stands behind a number, the same for all SAEs; the report states them."""
    sae_bench: SaeBenchSchema | None = None
    """None: SAEBench has no such eval."""

    @property
    def module(self) -> str:
        """The module that declares it; the modules it reaches by imports are the code behind its numbers."""
        return self.run.__module__
