"""What every eval is: settings, metric specs, and a run over all SAEs of one site."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, ParamSpec, TypeVar

from sae_research.hub import Hub
from sae_research.progress import Progress
from sae_research.results.record import EvalOutput, MetricSpec

if TYPE_CHECKING:  # Both import torch, which planning does without.
    from sae_research.lm.model import LanguageModel
    from sae_research.saes.base import Sae

Arguments = ParamSpec("Arguments")
Value = TypeVar("Value")


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


@dataclass(eq=False)
class Attempt:
    """One SAE on its way through a run that goes on without it once something of its own has failed."""

    sae: Sae
    error: Exception | None = None

    def do(self, work: Callable[Arguments, Value], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Value | None:
        """What `work` returns; None once this SAE has failed. The first error is kept for the outcome."""
        if self.error is not None:
            return None
        try:
            return work(*args, **kwargs)
        except Exception as error:
            self.error = error
            return None

    def finish(self, work: Callable[[], EvalOutput]) -> Outcome:
        """The outcome: what `work` makes of what was gathered, or the error."""
        output = self.do(work)
        return Outcome(self.sae, output, self.error)


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
    def modules_by_name(cls, settings: Any) -> tuple[str, ...]:
        """Modules that a run with `settings` finds by name rather than by import: their code counts for the key."""

    @classmethod
    @abstractmethod
    def run(cls, context: EvalContext, saes: Sequence[Sae], settings: Any) -> Iterator[Outcome]:
        """Measure every SAE of `saes` (all at one site) in one pass of the language model."""
