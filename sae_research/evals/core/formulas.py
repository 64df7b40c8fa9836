"""The scalars of the core eval as functions of sums: the same formulas serve totals and jackknife replicates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.special import stdtrit

from sae_research.metrics.groups import GROUPS, consecutive, whole_documents
from sae_research.metrics.intervals import Bounds, Estimate, Sums, jackknife

Rows = Mapping[str, np.ndarray]
"""One value per sequence, by column."""

# Of the bootstrap over groups; with 200 its standard error is off by 5 %.
_RESAMPLES = 200
# Latents whose resampled densities exist at a time: 13 MB in float64.
_LATENTS = 2**13
_SHARE, _FROM_ZERO, _UP_TO_ONE = (0.0, 1.0), (0.0, math.inf), (-math.inf, 1.0)
BOUNDS: Mapping[str, Bounds] = {
    **dict.fromkeys(("ce_loss_with_sae", "ce_loss_without_sae", "ce_loss_with_ablation"), _FROM_ZERO),
    **dict.fromkeys(("ce_loss_with_mean_ablation", "ce_loss_unigram", "kl_div_with_mean_ablation"), _FROM_ZERO),
    **dict.fromkeys(("kl_div_with_sae", "kl_div_with_ablation"), _FROM_ZERO),
    **dict.fromkeys(("kl_div_score", "kl_div_score_mean_ablation"), _UP_TO_ONE),
    **dict.fromkeys(("explained_variance", "explained_variance_legacy"), _UP_TO_ONE),
    "explained_variance_without_outliers": _UP_TO_ONE,
    **dict.fromkeys(("outlier_share_of_variance", "outlier_share_of_tokens"), _SHARE),
    **dict.fromkeys(("mse", "mse_sae_bench", "l2_norm_in", "l2_norm_out", "l2_ratio", "l0", "l1"), _FROM_ZERO),
    **dict.fromkeys(("support_per_sequence", "support_per_token", "support_share_of_d_in"), _FROM_ZERO),
    **dict.fromkeys(("next_token_accuracy_with_sae", "next_token_accuracy_without_sae"), _SHARE),
    **dict.fromkeys(("negative_share", "interpolates", "frac_alive", "frac_dead"), _SHARE),
    **dict.fromkeys(("freq_over_1_percent", "freq_over_10_percent"), _SHARE),
    **dict.fromkeys(("normalized_freq_over_1_percent", "normalized_freq_over_10_percent"), _SHARE),
    "cossim": (-1.0, 1.0),
}
"""The smallest and largest value that a metric can have, whatever the SAE; a metric that is absent is unbounded."""


def estimate_behaviour(rows: Rows, documents: np.ndarray) -> dict[str, Estimate]:
    """Cross-entropy and KL metrics from the sums of the reconstruction pass."""
    return jackknife(rows, _behaviour, groups=whole_documents(documents), bounds=BOUNDS)


def estimate_quality(
    rows: Rows, documents: np.ndarray, *, offset_square: float, usual_offset_square: float, d_in: int
) -> dict[str, Estimate]:
    """Reconstruction, shrinkage and sparsity metrics from the sums of the sparsity pass.

    `offset_square` is ‖mean(x) - centre‖², `usual_offset_square` the same of the mean without outliers. The intervals
    treat them, and the batch means of the legacy value, as fixed: their sampling error is of order 1/tokens.
    """

    def statistic(s: Sums) -> Sums:
        return _quality(s, offset_square, usual_offset_square) | _sparsity(s, d_in)

    n_documents = len(np.unique(documents))
    return jackknife(
        rows, statistic, groups=whole_documents(documents), bounds=BOUNDS, shares={"interpolates": n_documents}
    )


def estimate_as_sae_bench(rows: Rows, documents: np.ndarray, *, batch_size: int, d_in: int) -> dict[str, Estimate]:
    """SAEBench's formulas where they differ from ours; they depend on batches, which are the jackknife's units.

    Batches divide documents, so the runs of batches that are left out are at least twice as long as any document.
    """
    batches = {name: row.reshape(-1, batch_size).sum(axis=1) for name, row in rows.items()}
    tokens = batches["tokens"]
    with np.errstate(all="ignore"):
        parts = {
            "tokens": tokens,
            "batches": np.ones_like(tokens),
            "error": batches["error"] / tokens,
            "in_square": batches["in_square"] / tokens,
            "bias": batches["out_square"] / batches["dot"],
            "signed": batches["signed"],
        }
    longest = int(np.unique(documents, return_counts=True)[1].max())
    runs = consecutive(len(tokens), most=max(1, min(GROUPS, len(documents) // (2 * longest))))
    return jackknife(parts, lambda s: _as_sae_bench(s, d_in), groups=runs, bounds=BOUNDS)


def estimate_densities(fired: np.ndarray, tokens: np.ndarray) -> dict[str, Estimate]:
    """Aliveness and frequency metrics from counts `fired` (groups, d_sae) over `tokens` (groups,).

    They count latents beyond a threshold, for which leaving out one group says little: it changes nothing, or too much.
    Their standard error is that of a bootstrap over groups, of a share of latents at least one latent's. There are no
    replicates, so two SAEs are compared by their intervals.
    """
    n = len(tokens)
    generator = np.random.Generator(np.random.Philox(key=0))
    drawn = generator.integers(n, size=(_RESAMPLES, n))
    weights = np.stack([np.ones(n), *(np.bincount(row, minlength=n) for row in drawn)])
    blocks = [
        _frequent(weights @ block / (weights @ tokens)[:, None])
        for block in np.array_split(fired.astype(np.float64), -(-fired.shape[1] // _LATENTS), axis=1)
    ]
    with np.errstate(all="ignore"):
        numbers = _densities({name: sum(block[name] for block in blocks) for name in blocks[0]}, fired.shape[1])
    return {name: _bootstrapped(name, values, groups=n, d_sae=fired.shape[1]) for name, values in numbers.items()}


def _bootstrapped(name: str, values: np.ndarray, *, groups: int, d_sae: int) -> Estimate:
    """The first of `values` with Student's interval; the others are of resampled groups."""
    value, resampled = float(values[0]), values[1:]
    if groups < 2 or not np.isfinite(values).all():
        return Estimate(value)
    error = float(resampled.std(ddof=1)) * math.sqrt(groups / (groups - 1))
    if not name.startswith("normalized"):
        error = max(error, 1 / d_sae)
    elif error == 0:
        # No latent comes near the threshold: how far off they are is not in the resamples.
        return Estimate(value)
    half = float(stdtrit(groups - 1, 0.975)) * error
    low, high = BOUNDS[name]
    return Estimate(value, max(low, value - half), min(high, value + half))


def _behaviour(s: Sums) -> Sums:
    clean, zero, mean, unigram, sae = (
        s[f"ce_{name}"] / s["ce_tokens"] for name in ("clean", "zero", "mean", "unigram", "sae")
    )
    kl_zero, kl_mean, kl_sae = (s[f"kl_{name}"] / s["kl_tokens"] for name in ("zero", "mean", "sae"))
    return {
        "ce_loss_score": (zero - sae) / (zero - clean),
        "ce_loss_with_sae": sae,
        "ce_loss_without_sae": clean,
        "ce_loss_with_ablation": zero,
        "ce_loss_increase": sae - clean,
        "ce_loss_with_mean_ablation": mean,
        "ce_loss_score_mean_ablation": (mean - sae) / (mean - clean),
        "ce_loss_unigram": unigram,
        # Undefined where the model knows no more than how frequent tokens are.
        "ce_loss_score_unigram": np.where(unigram > clean, (unigram - sae) / (unigram - clean), np.nan),
        "next_token_accuracy_with_sae": s["right_sae"] / s["ce_tokens"],
        "next_token_accuracy_without_sae": s["right_clean"] / s["ce_tokens"],
        "kl_div_score": (kl_zero - kl_sae) / kl_zero,
        "kl_div_with_sae": kl_sae,
        "kl_div_with_ablation": kl_zero,
        "kl_div_with_mean_ablation": kl_mean,
        "kl_div_score_mean_ablation": (kl_mean - kl_sae) / kl_mean,
    }


def _quality(s: Sums, offset_square: float, usual_offset_square: float) -> dict[str, Any]:
    n = s["tokens"]
    spread = s["in_spread"] - offset_square * n
    usual_spread = s["usual_spread"] - usual_offset_square * s["usual_tokens"]
    return {
        "explained_variance": 1 - s["error"] / spread,
        "explained_variance_without_outliers": 1 - s["usual_error"] / usual_spread,
        "outlier_share_of_variance": 1 - usual_spread / spread,
        "outlier_share_of_tokens": 1 - s["usual_tokens"] / n,
        "explained_variance_legacy": s["legacy"] / n,
        "mse": s["error"] / n,
        "cossim": s["cosine"] / n,
        "l2_norm_in": s["in_norm"] / n,
        "l2_norm_out": s["out_norm"] / n,
        "l2_ratio": s["ratio"] / n,
        "relative_reconstruction_bias": s["out_square"] / s["dot"],
    }


def _sparsity(s: Sums, d_in: int) -> dict[str, Any]:
    n, sequences = s["tokens"], s["sequences"]
    return {
        "l0": s["l0"] / n,
        "l1": s["l1"] / n,
        "negative_share": s["negative"] / s["l0"],
        "support_per_sequence": s["support"] / sequences,
        "support_per_token": s["support"] / n,
        "support_share_of_d_in": s["support"] / sequences / d_in,
        "interpolates": s["interpolating"] / sequences,
    }


def _as_sae_bench(s: Sums, d_in: int) -> Sums:
    square = s["in_square"] / s["batches"]
    return {
        # SAEBench subtracts (mean over batches and dimensions of E_b[x_j²])² = (S/d)² where Σ_j E[x_j]² is meant.
        "explained_variance_sae_bench": 1 - (s["error"] / s["batches"]) / (square - (square / d_in) ** 2),
        # Each token's squared error is divided by the tokens of its batch, then averaged over tokens.
        "mse_sae_bench": s["error"] / s["tokens"],
        "relative_reconstruction_bias_sae_bench": s["bias"] / s["batches"],
        "l1_sae_bench": s["signed"] / s["tokens"],
    }


def _frequent(density: np.ndarray) -> dict[str, np.ndarray]:
    """How many latents have some density, and how much of it they have together."""
    over = {"0": density > 0, "1": density > 0.01, "10": density > 0.1}
    counts = {f"count {percent}": frequent.sum(axis=1) for percent, frequent in over.items()}
    return counts | {f"density {percent}": (density * frequent).sum(axis=1) for percent, frequent in over.items()}


def _densities(s: Sums, d_sae: int) -> dict[str, np.ndarray]:
    alive = s["count 0"] / d_sae
    values = {"frac_alive": alive, "frac_dead": 1 - alive}
    for percent in ("1", "10"):
        values[f"freq_over_{percent}_percent"] = s[f"count {percent}"] / d_sae
        values[f"normalized_freq_over_{percent}_percent"] = s[f"density {percent}"] / s["density 0"]
    return values
