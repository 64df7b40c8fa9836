"""SAEBench's own core eval on our model, tokens and SAEs."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from jaxtyping import Int
from torch import Tensor

from sae_research.reference.peer_sae import PeerSae
from sae_research.saes.base import Sae


class PeerCore(NamedTuple):
    """What SAEBench's core eval found."""

    scalars: dict[str, float]
    latents: Mapping[str, Sequence[float]]
    """One number per latent under each name."""
    signed: bool | None
    """Whether a code was below 0; None where nobody watched."""


@dataclass
class _Store:
    """Stands in for SAELens' ActivationsStore: hands out our rows in order, and like it never starts over."""

    rows: Tensor
    store_batch_size_prompts: int
    taken: int = 0

    @property
    def context_size(self) -> int:
        return self.rows.shape[1]

    def get_batch_tokens(self, batch_size: int) -> Tensor:
        batch = self.rows[self.taken : self.taken + batch_size]
        self.taken += batch_size
        return batch

    def reset_input_dataset(self) -> None:
        """SAELens resets the data set it reads from but not the iterator over it: the next batch follows the last."""


def run_core(
    lens: Any,
    sae: Sae,
    rows: Int[Tensor, "row position"],
    *,
    batch_size: int,
    n_reconstruction: int,
    keep_special: bool,
    watch_signs: bool = False,
) -> PeerCore:
    """`sae_bench.evals.core.main.run_evals` with everything switched on, and its `calculate_misc_metrics`.

    `rows` serve `n_reconstruction` batches for cross-entropy and KL, then all that follow for the rest.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sae_bench.evals.core.eval_config import CoreEvalConfig
        from sae_bench.evals.core.main import calculate_misc_metrics, run_evals

    tokenizer = lens.tokenizer
    peer = PeerSae(sae, watch_signs=watch_signs)
    categories, latents = run_evals(
        peer,  # type: ignore[arg-type]
        _Store(rows, batch_size),  # type: ignore[arg-type]
        lens,
        CoreEvalConfig(
            batch_size_prompts=batch_size,
            n_eval_reconstruction_batches=n_reconstruction,
            n_eval_sparsity_variance_batches=len(rows) // batch_size - n_reconstruction,
            compute_kl=True,
            compute_ce_loss=True,
            compute_l2_norms=True,
            compute_sparsity_metrics=True,
            compute_variance_metrics=True,
            compute_featurewise_density_statistics=True,
            compute_featurewise_weight_based_metrics=True,
            exclude_special_tokens_from_reconstruction=keep_special,
        ),
        ignore_tokens={tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.bos_token_id},
    )
    scalars = {name: value for category in categories.values() for name, value in category.items()}
    signed = peer.gave_negative_codes if watch_signs else None
    return PeerCore({**scalars, **calculate_misc_metrics(latents)}, latents, signed)
