"""SAEBench's own core eval on our model, tokens and SAEs."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int
from torch import Tensor

from sae_research.evals.base import EvalContext, Outcome
from sae_research.evals.core.rows import core_rows
from sae_research.evals.core.settings import CoreSettings
from sae_research.evals.core.specs import CORE_SPECS, OTHER_FORMULA
from sae_research.evals.shared.attempts import Attempt
from sae_research.measurements import NOT_FOR_TOKENS, EvalOutput, Measurement, Table
from sae_research.reference.adapter import SaeBenchSae, not_computed
from sae_research.reference.lens import lens_of
from sae_research.saes.base import Sae


class SaeBenchCore(NamedTuple):
    """The report of SAEBench's core eval."""

    scalars: dict[str, float]
    latents: Mapping[str, Sequence[float]]
    """One number per latent under each name."""
    signed: bool | None
    """Whether a code was below 0; None if that was not watched."""


@dataclass
class _RowStore:
    """Replaces SAELens' ActivationsStore: returns our rows in order and, like it, never starts over."""

    rows: Tensor
    store_batch_size_prompts: int
    next_row: int = 0

    @property
    def context_size(self) -> int:
        return self.rows.shape[1]

    def get_batch_tokens(self, batch_size: int) -> Tensor:
        batch = self.rows[self.next_row : self.next_row + batch_size]
        self.next_row += batch_size
        return batch

    def reset_input_dataset(self) -> None:
        """SAELens resets the data set but not its iterator, so the next batch follows the last one."""


def run_core(
    lens: Any,
    sae: Sae,
    rows: Int[Tensor, "row position"],
    *,
    batch_size: int,
    n_reconstruction: int,
    keep_special: bool,
    watch_signs: bool = False,
) -> SaeBenchCore:
    """`sae_bench.evals.core.main.run_evals` with everything switched on, and its `calculate_misc_metrics`.

    The first `n_reconstruction` batches of `rows` are for cross-entropy and KL, all others for the rest.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sae_bench.evals.core.eval_config import CoreEvalConfig
        from sae_bench.evals.core.main import calculate_misc_metrics, run_evals

    tokenizer = lens.tokenizer
    adapted = SaeBenchSae(sae, watch_signs=watch_signs)
    categories, latents = run_evals(
        adapted,  # type: ignore[arg-type]
        _RowStore(rows, batch_size),  # type: ignore[arg-type]
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
    signed = adapted.gave_negative_codes if watch_signs else None
    return SaeBenchCore({**scalars, **calculate_misc_metrics(latents)}, latents, signed)


_TWINS = frozenset(spec.name for spec in CORE_SPECS)
_TWIN_RECORDS = frozenset({"feature_density", "consistent_activation_heuristic"})


def run(context: EvalContext, saes: Sequence[Sae], settings: CoreSettings) -> Iterator[Outcome]:
    """The outcome of every SAE: SAEBench reads the rows again for each."""
    lens = lens_of(context)
    context.progress.expect(len(saes))
    for group, rows in core_rows(context, saes, settings):
        on_device = rows.tokens.to(context.lm.device)
        for sae in group:
            yield Attempt(sae).finish(lambda sae=sae, rows=on_device: _measure(lens, sae, rows, settings))
            context.progress.advance(doing=sae.card.name)


def _measure(lens: Any, sae: Sae, rows: Tensor, settings: CoreSettings) -> EvalOutput:
    reported = run_core(
        lens,
        sae,
        rows,
        batch_size=settings.batch_size,
        n_reconstruction=settings.n_reconstruction_batches,
        keep_special=settings.exclude_special_tokens_from_reconstruction,
        watch_signs=True,
    )
    values = _by_our_name(reported.scalars, signed=reported.signed)
    measurements = tuple(_measurement(spec.name, values, sae) for spec in CORE_SPECS)
    return EvalOutput(measurements, tables={"latents": _latent_table(reported)})


def _by_our_name(values: Mapping[str, Any], *, signed: bool | None) -> dict[str, Any]:
    """SAEBench's values under our names: `..._sae_bench` if our plain name means another number, else the plain name.

    Its sums and counts of codes are the same as ours unless there are codes below 0, which it ignores.
    """
    renamed: dict[str, Any] = {}
    for name, value in values.items():
        has_twin = f"{name}_sae_bench" in _TWINS or name in _TWIN_RECORDS
        if has_twin:
            renamed[f"{name}_sae_bench"] = value
        if not has_twin or (signed is False and name not in OTHER_FORMULA):
            renamed[name] = value
    return renamed


def _measurement(name: str, values: Mapping[str, float], sae: Sae) -> Measurement:
    if name == "interpolates" and sae.scope != "sequence" and sae.atoms_per_token is None:
        return Measurement(name, None, reason=NOT_FOR_TOKENS)
    if name not in values:
        return not_computed(name)
    value = float(values[name])
    if not math.isfinite(value):
        return Measurement(name, None, reason="SAEBench reports NaN or infinity")
    return Measurement(name, value)


def _latent_table(reported: SaeBenchCore) -> Table:
    """SAEBench's record of each latent; missing where it has NaN."""
    columns = _by_our_name(reported.latents, signed=reported.signed)
    return Table({name: _finite(np.asarray(column, dtype=np.float64)) for name, column in columns.items()})


def _finite(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values), values, np.nan)
