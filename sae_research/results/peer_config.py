"""Our settings under the names that SAEBench's `eval_config` has for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sae_research.results.record import Result

_ABLATIONS = {"train_size": "train_set_size", "test_size": "test_set_size", "context_size": "context_length"}
_ALIASES: Mapping[str, Mapping[str, str]] = {
    "core": {
        "n_reconstruction_batches": "n_eval_reconstruction_batches",
        "n_sparsity_batches": "n_eval_sparsity_variance_batches",
        "batch_size": "batch_size_prompts",
    },
    "sparse_probing": {
        "train_size": "probe_train_set_size",
        "test_size": "probe_test_set_size",
        "context_size": "context_length",
    },
    "absorption": {"min_probe_f1": "min_GT_probe_f1"},
    "scr": _ABLATIONS,
    "tpp": _ABLATIONS,
}
"""SAEBench's name by ours."""

_ALWAYS: Mapping[str, Mapping[str, Any]] = {
    "core": {
        "compute_kl": True,
        "compute_ce_loss": True,
        "compute_l2_norms": True,
        "compute_sparsity_metrics": True,
        "compute_variance_metrics": True,
        "compute_featurewise_density_statistics": True,
        "compute_featurewise_weight_based_metrics": True,
    },
    "scr": {"perform_scr": True},
    "tpp": {"perform_scr": False},
}
"""What SAEBench lets one choose and we always do."""


def peer_config(result: Result) -> dict[str, Any]:
    """SAEBench's `eval_config`: our settings, and beside them its own names for those that it knows too."""
    settings = dict(result.settings)
    aliases = _ALIASES.get(result.eval_name, {})
    renamed = {theirs: settings[ours] for ours, theirs in aliases.items() if ours in settings}
    model = result.key_parts.get("model") or {}
    shared = {
        "model_name": model.get("name"),
        "llm_dtype": model.get("dtype"),
        "random_seed": result.key_parts.get("seed"),
    }
    known = {key: value for key, value in shared.items() if value is not None}
    return {**settings, **renamed, **known, **_ALWAYS.get(result.eval_name, {})}
