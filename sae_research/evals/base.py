"""What every eval is: settings, metric specs, and a run over all SAEs of one site."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from sae_research.hub import Hub
from sae_research.lm.model import LanguageModel
from sae_research.progress import Progress
from sae_research.results.record import EvalOutput, MetricSpec
from sae_research.saes.base import Sae


@dataclass(frozen=True)
class EvalContext:
    """What an eval works with, beside its settings."""

    lm: LanguageModel
    hub: Hub
    seed: int
    batch_size: int
    """Sequences per language-model batch: changes speed and memory, never a number."""
    progress: Progress


class Outcome(NamedTuple):
    """What came of one SAE in a run: an output, or the error that stopped it (the others went on)."""

    sae: Sae
    output: EvalOutput | None
    error: Exception | None


class Eval(ABC):
    """An eval; one final subclass per file of `sae_research/evals/`."""

    name: ClassVar[str]
    """Its name in `eval_types`, and of its folder in `eval_results/`."""
    section: ClassVar[str]
    """The section of `params.yaml` that holds its settings."""
    specs: ClassVar[tuple[MetricSpec, ...]]

    @classmethod
    @abstractmethod
    def data_revisions(cls, settings: Any, hub: Hub) -> Mapping[str, str]:
        """The data sets that `settings` names, each with the revision that determines its content."""

    @classmethod
    @abstractmethod
    def run(cls, context: EvalContext, saes: Sequence[Sae], settings: Any) -> Iterator[Outcome]:
        """Measure every SAE of `saes` (all at one site) in one pass of the language model."""
