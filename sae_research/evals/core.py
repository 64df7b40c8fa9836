"""The core eval: sparsity, reconstruction, and what the language model loses when it reads the reconstruction.

Sign policy: a latent fires where its code is not 0, whatever the sign; L1 sums absolute values. SAEBench's counts of
codes above 0 and its signed sum stand beside, under `..._sae_bench`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from sae_research.evals.base import Eval, EvalContext, Outcome
from sae_research.hub import Hub
from sae_research.metrics.core_specs import CORE_SPECS

if TYPE_CHECKING:
    from sae_research.saes.base import Sae


@dataclass(frozen=True)
class CoreSettings:
    """How much text the core eval reads, and how."""

    dataset: str = "embedded/text"
    """The text: a hub id, a local folder, or `embedded/<name>`."""
    split: str = "test"
    """Its split; hub corpora without a test split have only `train`."""
    context_size: int = 128
    """Tokens per sequence, the leading BOS included."""
    batch_size: int = 16
    """Sequences per batch: the unit of the two counts below, and of the metrics that SAEBench averages by batch."""
    n_reconstruction_batches: int = 10
    """Batches for cross-entropy and KL; the published setting is 200."""
    n_sparsity_batches: int = 50
    """Batches, following those, for everything else; the published setting is 2000."""
    exclude_special_tokens_from_reconstruction: bool = True
    """Whether BOS, EOS and pad keep their activation when the model reads the reconstruction."""

    def __post_init__(self) -> None:
        smallest = {"context_size": 2, "batch_size": 1, "n_reconstruction_batches": 1, "n_sparsity_batches": 1}
        for name, least in smallest.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least {least}")

    @property
    def n_reconstruction_sequences(self) -> int:
        return self.n_reconstruction_batches * self.batch_size

    @property
    def n_sparsity_sequences(self) -> int:
        return self.n_sparsity_batches * self.batch_size


@final
class Core(Eval):
    """One pass of the language model over the same tokens for all SAEs of a site."""

    name = "core"
    section = "core_eval"
    specs = CORE_SPECS

    @classmethod
    def data_revisions(cls, settings: CoreSettings, hub: Hub) -> Mapping[str, str]:
        return {settings.dataset: hub.dataset_revision(settings.dataset)}

    @classmethod
    def modules_by_name(cls, settings: CoreSettings) -> tuple[str, ...]:
        return ()

    @classmethod
    def run(cls, context: EvalContext, saes: Sequence[Sae], settings: CoreSettings) -> Iterator[Outcome]:
        if not saes:
            return
        from sae_research.evals.parts.core_pass import CorePlan, measure_core
        from sae_research.evals.parts.core_rows import core_rows

        rows = core_rows(context, settings)
        plan = CorePlan(
            settings.batch_size,
            settings.n_reconstruction_sequences,
            keep_special=settings.exclude_special_tokens_from_reconstruction,
        )
        yield from measure_core(context, saes, rows, plan)
