"""Cells of the core eval, computed by SAEBench."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from sae_research.evals.base import Attempt, EvalContext, Outcome
from sae_research.evals.parts.core_rows import core_rows
from sae_research.metrics.core_specs import CORE_SPECS
from sae_research.reference.core import PeerCore, run_core
from sae_research.reference.lens import lens_of
from sae_research.reference.missing import not_computed
from sae_research.results.record import NOT_FOR_TOKENS, EvalOutput, Measurement
from sae_research.saes.base import Sae

if TYPE_CHECKING:
    from sae_research.evals.core import CoreSettings

# Computed by formulas of SAEBench's own: never what the plain name means.
_OTHER_FORMULA = frozenset({"explained_variance", "mse", "relative_reconstruction_bias"})
_TWINS = frozenset(spec.name for spec in CORE_SPECS)
_TWIN_RECORDS = frozenset({"feature_density", "consistent_activation_heuristic"})


def run(context: EvalContext, saes: Sequence[Sae], settings: CoreSettings) -> Iterator[Outcome]:
    """The outcome of every SAE: SAEBench reads the rows again for each."""
    if not saes:
        return
    rows = core_rows(context, settings).to(context.lm.device)
    lens = lens_of(context)
    context.progress.expect(len(saes))
    for sae in saes:
        yield Attempt(sae).finish(lambda own=sae: _measure(lens, own, rows, settings))
        context.progress.advance(doing=sae.card.name)


def _measure(lens: Any, sae: Sae, rows: Tensor, settings: CoreSettings) -> EvalOutput:
    found = run_core(
        lens,
        sae,
        rows,
        batch_size=settings.batch_size,
        n_reconstruction=settings.n_reconstruction_batches,
        keep_special=settings.exclude_special_tokens_from_reconstruction,
        watch_signs=True,
    )
    values = _by_our_name(found.scalars, signed=found.signed)
    measurements = tuple(_measurement(spec.name, values, sae) for spec in CORE_SPECS)
    return EvalOutput(measurements, details=_records(found))


def _by_our_name(values: Mapping[str, Any], *, signed: bool | None) -> dict[str, Any]:
    """SAEBench's values under our names: as `..._sae_bench` where ours mean another number, plain where the same.

    Its sums and counts of codes differ from ours in nothing but their blindness to codes below 0.
    """
    found: dict[str, Any] = {}
    for name, value in values.items():
        has_twin = f"{name}_sae_bench" in _TWINS or name in _TWIN_RECORDS
        if has_twin:
            found[f"{name}_sae_bench"] = value
        if not has_twin or (signed is False and name not in _OTHER_FORMULA):
            found[name] = value
    return found


def _measurement(name: str, values: Mapping[str, float], sae: Sae) -> Measurement:
    if name == "interpolates" and sae.scope != "sequence":
        return Measurement(name, None, reason=NOT_FOR_TOKENS)
    if name not in values:
        return not_computed(name)
    value = float(values[name])
    if not math.isfinite(value):
        return Measurement(name, None, reason="SAEBench found no finite number")
    return Measurement(name, value)


def _records(found: PeerCore) -> list[dict[str, Any]]:
    """Per latent, as SAEBench has them; None where it has NaN."""
    columns = _by_our_name(found.latents, signed=found.signed)
    n = len(next(iter(columns.values())))
    return [{"index": i, **{name: _plain(column[i]) for name, column in columns.items()}} for i in range(n)]


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
