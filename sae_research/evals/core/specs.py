"""The metrics of the core eval: names, keys in SAEBench's schema, units, directions."""

from __future__ import annotations

from sae_research.measurements import Direction, MetricSpec


def _spec(
    category: str,
    name: str,
    title: str,
    direction: Direction = "neither",
    unit: str = "",
    *,
    ours: bool = False,
    headline: bool = False,
) -> MetricSpec:
    """`ours`: SAEBench's schema does not have this key."""
    return MetricSpec(name, category, unit, direction, title, None if ours else name, headline)


_PERFORMANCE = (
    _spec(
        "model_performance_preservation",
        "ce_loss_increase",
        "Cross entropy added by the SAE",
        "lower",
        "nats",
        ours=True,
        headline=True,
    ),
    _spec(
        "model_performance_preservation",
        "ce_loss_score_unigram",
        "Loss recovered, against token frequencies",
        "higher",
        ours=True,
        headline=True,
    ),
    _spec(
        "model_performance_preservation",
        "ce_loss_score",
        "Loss recovered, against zero ablation",
        "higher",
        headline=True,
    ),
    _spec("model_performance_preservation", "ce_loss_with_ablation", "Cross entropy under zero ablation", unit="nats"),
    _spec("model_performance_preservation", "ce_loss_with_sae", "Cross entropy with the SAE", "lower", "nats"),
    _spec("model_performance_preservation", "ce_loss_without_sae", "Cross entropy of the model", unit="nats"),
    _spec(
        "model_performance_preservation",
        "ce_loss_unigram",
        "Cross entropy of token frequencies",
        unit="nats",
        ours=True,
    ),
    _spec(
        "model_performance_preservation",
        "ce_loss_score_mean_ablation",
        "Loss recovered, against mean ablation",
        "higher",
        ours=True,
    ),
    _spec(
        "model_performance_preservation",
        "ce_loss_with_mean_ablation",
        "Cross entropy under mean ablation",
        unit="nats",
        ours=True,
    ),
)
_ACCURACY = (
    _spec(
        "model_performance_preservation",
        "next_token_accuracy_with_sae",
        "Next-token accuracy with the SAE",
        "higher",
        ours=True,
    ),
    _spec(
        "model_performance_preservation",
        "next_token_accuracy_without_sae",
        "Next-token accuracy of the model",
        ours=True,
    ),
)
_BEHAVIOUR = (
    _spec("model_behavior_preservation", "kl_div_with_sae", "KL divergence with the SAE", "lower", "nats"),
    _spec("model_behavior_preservation", "kl_div_score", "KL divergence score", "higher"),
    _spec("model_behavior_preservation", "kl_div_with_ablation", "KL divergence under zero ablation", unit="nats"),
    _spec(
        "model_behavior_preservation",
        "kl_div_score_mean_ablation",
        "KL divergence score, against mean ablation",
        "higher",
        ours=True,
    ),
    _spec(
        "model_behavior_preservation",
        "kl_div_with_mean_ablation",
        "KL divergence under mean ablation",
        unit="nats",
        ours=True,
    ),
)
_QUALITY = (
    _spec("reconstruction_quality", "explained_variance", "Explained variance", "higher", headline=True),
    _spec("reconstruction_quality", "explained_variance_legacy", "Explained variance (SAEBench, legacy)", "higher"),
    _spec(
        "reconstruction_quality",
        "explained_variance_sae_bench",
        "Explained variance (SAEBench)",
        ours=True,
    ),
    _spec(
        "reconstruction_quality",
        "explained_variance_without_outliers",
        "Explained variance without outliers",
        "higher",
        ours=True,
    ),
    _spec("reconstruction_quality", "outlier_share_of_variance", "Outliers' share of the variance", ours=True),
    _spec("reconstruction_quality", "outlier_share_of_tokens", "Outliers' share of the tokens", ours=True),
    _spec("reconstruction_quality", "mse", "Squared error", "lower", "squared activation per token", headline=True),
    _spec(
        "reconstruction_quality",
        "mse_sae_bench",
        "Squared error (SAEBench)",
        "lower",
        "squared activation per token and batch token",
        ours=True,
    ),
    _spec("reconstruction_quality", "cossim", "Cosine similarity", "higher", headline=True),
)
_SHRINKAGE = (
    _spec("shrinkage", "l2_norm_in", "Norm of the activations", unit="activation"),
    _spec("shrinkage", "l2_norm_out", "Norm of the reconstruction", unit="activation"),
    _spec("shrinkage", "l2_ratio", "Norm ratio, out / in"),
    _spec("shrinkage", "relative_reconstruction_bias", "Relative reconstruction bias"),
    _spec("shrinkage", "relative_reconstruction_bias_sae_bench", "Relative reconstruction bias (SAEBench)", ours=True),
)
_SPARSITY = (
    _spec("sparsity", "l0", "L0", "lower", "latents per token"),
    _spec("sparsity", "l1", "L1", "lower", "activation per token"),
    _spec("sparsity", "l1_sae_bench", "Signed sum of codes (SAEBench's L1)", unit="activation per token", ours=True),
    _spec("sparsity", "negative_share", "Share of negative codes", ours=True),
    _spec(
        "sparsity", "support_per_sequence", "Latents in use per sequence", "lower", "latents per sequence", ours=True
    ),
    _spec(
        "sparsity",
        "support_per_token",
        "Latents in use per sequence token",
        "lower",
        "latents per token",
        ours=True,
    ),
    _spec("sparsity", "support_share_of_d_in", "Latents in use per sequence over d_in", "lower", ours=True),
    _spec("sparsity", "interpolates", "Share of the text that the support interpolates", "lower", ours=True),
)
_TOKENS = (
    _spec("token_stats", "total_tokens_eval_reconstruction", "Tokens, reconstruction", unit="tokens"),
    _spec("token_stats", "total_tokens_eval_sparsity_variance", "Tokens, sparsity", unit="tokens"),
    _spec("token_stats", "real_tokens_sparsity", "Real tokens, sparsity", unit="tokens", ours=True),
)
_MISC = (
    _spec("misc_metrics", "frac_alive", "Fraction of latents alive", "higher", headline=True),
    _spec("misc_metrics", "frac_dead", "Fraction of latents dead", "lower", ours=True),
    _spec("misc_metrics", "freq_over_1_percent", "Latents firing on over 1% of tokens"),
    _spec("misc_metrics", "freq_over_10_percent", "Latents firing on over 10% of tokens"),
    _spec("misc_metrics", "normalized_freq_over_1_percent", "Share of firings by latents over 1%"),
    _spec("misc_metrics", "normalized_freq_over_10_percent", "Share of firings by latents over 10%"),
    _spec("misc_metrics", "average_max_encoder_cosine_sim", "Mean largest encoder cosine", "lower"),
    _spec("misc_metrics", "average_max_decoder_cosine_sim", "Mean largest decoder cosine", "lower"),
)
_MISC_AS_SAE_BENCH = tuple(
    _spec("misc_metrics", f"{spec.name}_sae_bench", f"{spec.title} (SAEBench)", ours=True)
    for spec in _MISC
    if (spec.key is not None and "freq" in spec.name) or spec.name == "frac_alive"
)

OTHER_FORMULA = frozenset({"explained_variance", "mse", "relative_reconstruction_bias"})
"""Metrics for which SAEBench uses another formula: its numbers are `<name>_sae_bench`, never the plain name."""

CORE_SPECS: tuple[MetricSpec, ...] = (
    *_PERFORMANCE, *_ACCURACY, *_BEHAVIOUR, *_QUALITY, *_SHRINKAGE, *_SPARSITY, *_TOKENS, *_MISC, *_MISC_AS_SAE_BENCH
)  # fmt: skip
