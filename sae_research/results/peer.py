"""SAEBench's result schema as data: what each of its evals reports, where, and how it says that a number is missing.

Made from the classes in `sae_bench.evals.*.eval_output` of version 0.6.0; a test compares the two.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from sae_research.results.record import Direction, MetricSpec

MINUS_ONE = -1.0
"""What SAEBench's core writes where it had NaN."""


@dataclass(frozen=True)
class PeerEval:
    """One eval of SAEBench."""

    name: str
    """Its name with us."""
    type_id: str
    """Its `eval_type_id`."""
    specs: tuple[MetricSpec, ...]
    """Its metrics; the key may hold a placeholder, as in `sae_top_{k}_test_accuracy`."""
    required: frozenset[str]
    """Keys that its class wants as numbers; all others may be null."""
    headlines: frozenset[str] = frozenset()
    """Metrics of ours, not in its schema, that are headlines of this eval."""
    whole: frozenset[str] = frozenset()
    """Keys that its class wants as whole numbers."""
    required_details: frozenset[str] = frozenset()
    """Number fields of its `eval_result_details` that may not be null."""
    minus_one_is_missing: bool = False
    """Whether -1 stands for a number that it does not have (a difference of accuracies can really be -1)."""


def _spec(
    category: str, key: str, title: str, direction: Direction, unit: str = "", *, name: str = "", headline: bool = False
) -> MetricSpec:
    plain = key.replace("{", "").replace("}", "")
    return MetricSpec(name or plain, category, unit, direction, title, key, headline)


def _core() -> PeerEval:
    behavior = partial(_spec, "model_behavior_preservation")
    performance = partial(_spec, "model_performance_preservation")
    quality = partial(_spec, "reconstruction_quality")
    shrinkage = partial(_spec, "shrinkage")
    sparsity = partial(_spec, "sparsity")
    tokens = partial(_spec, "token_stats")
    misc = partial(_spec, "misc_metrics")
    specs = (
        behavior("kl_div_score", "KL divergence score", "higher", headline=True),
        behavior("kl_div_with_ablation", "KL divergence under zero ablation", "neither", "nats"),
        behavior("kl_div_with_sae", "KL divergence with the SAE", "lower", "nats"),
        performance("ce_loss_score", "Loss recovered", "higher", headline=True),
        performance("ce_loss_with_ablation", "Cross entropy under zero ablation", "neither", "nats"),
        performance("ce_loss_with_sae", "Cross entropy with the SAE", "lower", "nats"),
        performance("ce_loss_without_sae", "Cross entropy of the model", "neither", "nats"),
        quality("explained_variance", "Explained variance (SAEBench)", "higher", name="explained_variance_sae_bench"),
        quality("explained_variance_legacy", "Explained variance (SAEBench, legacy)", "higher"),
        quality("mse", "Squared error (SAEBench)", "lower", name="mse_sae_bench"),
        quality("cossim", "Cosine similarity", "higher", headline=True),
        shrinkage("l2_norm_in", "Norm of the activations", "neither"),
        shrinkage("l2_norm_out", "Norm of the reconstruction", "neither"),
        shrinkage("l2_ratio", "Norm ratio, out / in", "neither"),
        shrinkage(
            "relative_reconstruction_bias",
            "Relative reconstruction bias (SAEBench)",
            "neither",
            name="relative_reconstruction_bias_sae_bench",
        ),
        sparsity("l0", "L0", "lower", "latents per token"),
        sparsity("l1", "L1", "lower"),
        tokens("total_tokens_eval_reconstruction", "Tokens, reconstruction", "neither", "tokens"),
        tokens("total_tokens_eval_sparsity_variance", "Tokens, sparsity", "neither", "tokens"),
        misc("freq_over_1_percent", "Latents firing on over 1% of tokens", "neither"),
        misc("freq_over_10_percent", "Latents firing on over 10% of tokens", "neither"),
        misc("normalized_freq_over_1_percent", "Share of firings by latents over 1%", "neither"),
        misc("normalized_freq_over_10_percent", "Share of firings by latents over 10%", "neither"),
        misc("average_max_encoder_cosine_sim", "Mean largest encoder cosine", "neither"),
        misc("average_max_decoder_cosine_sim", "Mean largest decoder cosine", "neither"),
        misc("frac_alive", "Fraction of latents alive", "higher", headline=True),
    )
    details = {
        "feature_density",
        "consistent_activation_heuristic",
        "encoder_bias",
        "encoder_norm",
        "encoder_decoder_cosine_sim",
        "max_decoder_cosine_sim",
        "max_encoder_cosine_sim",
    }
    return PeerEval(
        name="core",
        type_id="core",
        specs=specs,
        required=frozenset(str(spec.key) for spec in specs),
        headlines=frozenset({"explained_variance", "mse"}),
        whole=frozenset({"total_tokens_eval_reconstruction", "total_tokens_eval_sparsity_variance"}),
        required_details=frozenset(details),
        minus_one_is_missing=True,
    )


def _sparse_probing() -> PeerEval:
    llm, sae = partial(_spec, "llm"), partial(_spec, "sae")
    specs = (
        llm("llm_test_accuracy", "Probe accuracy, all of the model's channels", "higher"),
        llm("llm_top_{k}_test_accuracy", "Probe accuracy, the model's k best channels", "higher"),
        sae("sae_test_accuracy", "Probe accuracy, all latents", "higher"),
        sae("sae_top_{k}_test_accuracy", "Probe accuracy, k best latents", "higher", headline=True),
    )
    required = frozenset({"llm_test_accuracy"})
    return PeerEval(
        "sparse_probing", "sparse_probing", specs, required, required_details=required, minus_one_is_missing=True
    )


def _absorption() -> PeerEval:
    mean = partial(_spec, "mean")
    specs = (
        mean("mean_absorption_fraction_score", "Absorption fraction", "lower", headline=True),
        mean("mean_full_absorption_score", "Full absorption", "lower", headline=True),
        mean("mean_num_split_features", "Split latents per letter", "lower", "latents", headline=True),
        mean("std_dev_absorption_fraction_score", "Absorption fraction, deviation over letters", "neither"),
        mean("std_dev_full_absorption_score", "Full absorption, deviation over letters", "neither"),
        mean("std_dev_num_split_features", "Split latents, deviation over letters", "neither", "latents"),
    )
    details = {
        "mean_absorption_fraction",
        "full_absorption_rate",
        "num_full_absorption",
        "num_probe_true_positives",
        "num_split_features",
    }
    required = frozenset(str(spec.key) for spec in specs)
    return PeerEval("absorption", "absorption_first_letter", specs, required, required_details=frozenset(details))


def _scr_and_tpp() -> tuple[PeerEval, PeerEval]:
    removal, perturbation = partial(_spec, "scr_metrics"), partial(_spec, "tpp_metrics")
    scr = (
        removal("scr_metric_threshold_{n}", "SCR", "higher", name="scr_metric", headline=True),
        removal("scr_dir1_threshold_{n}", "SCR, direction 1", "higher", name="scr_dir1"),
        removal("scr_dir2_threshold_{n}", "SCR, direction 2", "higher", name="scr_dir2"),
    )
    tpp = (
        perturbation("tpp_threshold_{n}_total_metric", "TPP", "higher", name="tpp_total_metric", headline=True),
        perturbation(
            "tpp_threshold_{n}_intended_diff_only", "TPP, intended class", "higher", name="tpp_intended_diff_only"
        ),
        perturbation(
            "tpp_threshold_{n}_unintended_diff_only", "TPP, other classes", "lower", name="tpp_unintended_diff_only"
        ),
    )
    return PeerEval("scr", "scr", scr, frozenset()), PeerEval("tpp", "tpp", tpp, frozenset())


def _others() -> tuple[PeerEval, ...]:
    ravel = partial(_spec, "ravel")
    auto = partial(_spec, "autointerp")
    by_name = {
        "ravel": (
            ravel("disentanglement_score", "Disentanglement (RAVEL)", "higher", headline=True),
            ravel("cause_score", "Cause (RAVEL)", "higher", headline=True),
            ravel("isolation_score", "Isolation (RAVEL)", "higher", headline=True),
        ),
        "unlearning": (_spec("unlearning", "unlearning_score", "Unlearning", "higher", headline=True),),
        "autointerp": (
            auto("autointerp_score", "Automated interpretability", "higher", headline=True),
            auto("autointerp_std_dev", "Automated interpretability, deviation over latents", "neither"),
        ),
    }
    return tuple(
        PeerEval(name, name, specs, frozenset(str(spec.key) for spec in specs)) for name, specs in by_name.items()
    )


PEER_EVALS: Mapping[str, PeerEval] = {
    peer.name: peer for peer in (_core(), _sparse_probing(), _absorption(), *_scr_and_tpp(), *_others())
}
BY_TYPE_ID: Mapping[str, PeerEval] = {peer.type_id: peer for peer in PEER_EVALS.values()}


def placeholders(key: str) -> list[str]:
    """The names in braces: `["k"]` for `sae_top_{k}_test_accuracy`."""
    return re.findall(r"{(\w+)}", key)


def match_key(spec: MetricSpec, key: str) -> dict[str, int] | None:
    """The placeholders' values where `key` is one of `spec`'s keys, None otherwise."""
    pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>\\d+)", re.escape(spec.key or ""))
    found = re.fullmatch(pattern, key)
    return {name: int(value) for name, value in found.groupdict().items()} if found else None
