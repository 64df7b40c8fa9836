"""Settings of the core eval."""

from __future__ import annotations

from dataclasses import dataclass

from sae_research.records import at_least


@dataclass(frozen=True)
class CoreSettings:
    """How much text the core eval reads, and how."""

    dataset: str
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
    prepend_bos: bool | None = None
    """Whether rows begin with BOS; null: as in the training of each SAE, by its own metadata. SAEs with and without are
    then measured on rows that are cut differently."""

    def __post_init__(self) -> None:
        at_least(self, context_size=2, batch_size=1, n_reconstruction_batches=1, n_sparsity_batches=1)

    @property
    def n_reconstruction_sequences(self) -> int:
        return self.n_reconstruction_batches * self.batch_size

    @property
    def n_sparsity_sequences(self) -> int:
        return self.n_sparsity_batches * self.batch_size
