"""From the sums of the core eval to its measurements and its table of latents."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sae_research.evals.core.formulas import (
    estimate_as_sae_bench,
    estimate_behaviour,
    estimate_densities,
    estimate_quality,
)
from sae_research.evals.core.specs import CORE_SPECS
from sae_research.evals.core.weights import describe_weights
from sae_research.measurements import NOT_FOR_TOKENS, EvalOutput, Measurement, Table, measured
from sae_research.metrics.groups import sum_by_group, whole_documents
from sae_research.metrics.intervals import Estimate
from sae_research.saes.base import Sae

_NOT_FINITE = {
    "negative_share": "no code is other than 0",
    "ce_loss_score_unigram": "the model predicts the text no better than the frequencies of its tokens do",
    "normalized_freq_over_1_percent": "no latent fired",
    "normalized_freq_over_10_percent": "no latent fired",
    "average_max_encoder_cosine_sim": "the SAE has a single latent",
    "average_max_decoder_cosine_sim": "the SAE has a single latent",
}


@dataclass(frozen=True)
class CoreSums:
    """All sums of one SAE over the text."""

    losses: Mapping[str, np.ndarray]
    """Per sequence of the reconstruction pass."""
    sums: Mapping[str, np.ndarray]
    """Per sequence of the sparsity pass."""
    offset_square: float
    """‖mean(x) - centre‖²."""
    usual_offset_square: float
    """The same of the mean without outliers."""
    fired: np.ndarray
    """(groups, d_sae): tokens with a code other than 0."""
    positive: np.ndarray
    """(groups, d_sae): tokens with a code above 0."""
    fired_sequences: np.ndarray
    """(d_sae,): sequences in which the latent fired."""
    positive_sequences: np.ndarray
    """(d_sae,): sequences in which its code was above 0 for some token."""
    documents: np.ndarray
    """The document that each sequence begins in, those of the reconstruction pass first."""
    batch_size: int
    context_size: int


def core_output(sae: Sae, text: CoreSums) -> EvalOutput:
    """Every metric of `CORE_SPECS`, and a table with a row per latent, its columns in SAEBench's names."""
    weights = {
        name: values.double().cpu().numpy()
        for name, values in describe_weights(sae.encoder_directions, sae.W_dec, sae.encoder_bias).items()
    }
    estimates = _estimates(text, d_in=sae.card.d_in) | {
        f"average_{name}": Estimate(float(weights[name].mean()))
        for name in ("max_encoder_cosine_sim", "max_decoder_cosine_sim")
    }
    measurements = tuple(_measurement(spec.name, estimates[spec.name], sae) for spec in CORE_SPECS)
    return EvalOutput(measurements, tables={"latents": _latent_table(text, weights)})


def _estimates(text: CoreSums, *, d_in: int) -> dict[str, Estimate]:
    losses, sums = text.losses, dict(text.sums)
    sums["sequences"] = (sums["tokens"] > 0).astype(np.float64)
    documents = np.split(text.documents, [len(losses["ce_tokens"])])
    tokens = sum_by_group(sums["tokens"], whole_documents(documents[1]))
    as_sae_bench = estimate_densities(text.positive, tokens)
    return (
        estimate_behaviour(losses, documents[0])
        | estimate_quality(
            sums,
            documents[1],
            offset_square=text.offset_square,
            usual_offset_square=text.usual_offset_square,
            d_in=d_in,
        )
        | estimate_as_sae_bench(sums, documents[1], batch_size=text.batch_size, d_in=d_in)
        | estimate_densities(text.fired, tokens)
        | {f"{name}_sae_bench": estimate for name, estimate in as_sae_bench.items()}
        | {
            # As SAEBench counts them: special tokens included.
            "total_tokens_eval_reconstruction": Estimate(float(len(losses["ce_tokens"]) * text.context_size)),
            "total_tokens_eval_sparsity_variance": Estimate(float(len(sums["tokens"]) * text.context_size)),
            # What densities and dead latents rest on.
            "real_tokens_sparsity": Estimate(float(sums["tokens"].sum())),
        }
    )


def _measurement(name: str, estimate: Estimate, sae: Sae) -> Measurement:
    if name == "interpolates" and sae.scope != "sequence":
        if sae.atoms_per_token is None:
            return Measurement(name, None, reason=NOT_FOR_TOKENS)
        return Measurement(name, float(sae.card.hyperparameters[sae.atoms_per_token] >= sae.card.d_in))
    if not math.isfinite(estimate.value):
        reason = _NOT_FINITE.get(name, "undefined on this text: a divisor is 0")
        return Measurement(name, None, reason=reason)
    return measured(name, estimate)


def _latent_table(text: CoreSums, weights: Mapping[str, np.ndarray]) -> Table:
    """Per latent: density, tokens per sequence in which it fires (missing where it never does), weights."""
    fired, positive = text.fired.sum(axis=0), text.positive.sum(axis=0)
    tokens = max(1.0, float(text.sums["tokens"].sum()))
    counted = {
        "feature_density": fired / tokens,
        "feature_density_sae_bench": positive / tokens,
        "consistent_activation_heuristic": _ratio(fired, text.fired_sequences),
        "consistent_activation_heuristic_sae_bench": _ratio(positive, text.positive_sequences),
    }
    # They were computed in float32. Adding 0.0 turns -0.0 into 0.0.
    weighed = {
        name: np.where(np.isfinite(values), values, np.nan).astype(np.float32) + np.float32(0)
        for name, values in weights.items()
    }
    return Table(counted | weighed)


def _ratio(numbers: np.ndarray, divisors: np.ndarray) -> np.ndarray:
    return np.where(divisors > 0, numbers / np.maximum(divisors, 1), np.nan)
