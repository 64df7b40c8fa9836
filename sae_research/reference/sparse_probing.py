"""SAEBench's own functions of sparse probing on our model, texts and SAEs."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

from jaxtyping import Bool, Float, Int
from torch import Tensor

from sae_research.reference.peer_sae import PeerSae
from sae_research.saes.base import Sae


class PeerPools(NamedTuple):
    """SAEBench's means over the real tokens of each text."""

    channels: Float[Tensor, "texts d"]
    codes: Float[Tensor, "texts d_sae"]


def _modules() -> tuple[Any, Any, Any]:
    """SAEBench's modules, imported without their run-time shape checks: two of these contradict each other."""
    import jaxtyping

    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from sae_bench.evals.sparse_probing import probe_training
            from sae_bench.sae_bench_utils import activation_collection, dataset_utils
    finally:
        jaxtyping.config.update("jaxtyping_disable", before)
    return probe_training, activation_collection, dataset_utils


def pool(lens: Any, sae: Sae, texts: Sequence[str], *, context_size: int) -> PeerPools:
    """What SAEBench's probes see of `texts`, by `tokenize_data_dictionary` and the `activation_collection` module."""
    _, collection, data = _modules()
    site = sae.card.site
    tokens = data.tokenize_data_dictionary({"all": list(texts)}, lens.tokenizer, context_size, "cpu")
    acts = collection.get_all_llm_activations(
        tokens, lens, len(texts), site.layer, site.hook_name, mask_bos_pad_eos_tokens=True
    )
    codes = collection.get_sae_meaned_activations(acts, PeerSae(sae), 125)
    return PeerPools(collection.create_meaned_model_activations(acts)["all"], codes["all"])


def best_features(x: Float[Tensor, "rows features"], positive: Bool[Tensor, " rows"], k: int) -> Int[Tensor, " k"]:
    """The features that SAEBench's `get_top_k_mean_diff_mask` keeps, ascending."""
    training, _, _ = _modules()
    return (~training.get_top_k_mean_diff_mask(x, positive.int(), k)).nonzero().squeeze(1)


def probe_accuracy(
    train: tuple[Float[Tensor, "rows features"], Bool[Tensor, " rows"]],
    test: tuple[Float[Tensor, "rows features"], Bool[Tensor, " rows"]],
) -> float:
    """The test accuracy of SAEBench's `train_sklearn_probe`."""
    training, _, _ = _modules()
    with warnings.catch_warnings():
        # scikit-learn calls the `penalty` argument that SAEBench gives deprecated.
        warnings.simplefilter("ignore")
        _, accuracy = training.train_sklearn_probe(train[0], train[1].int(), test[0], test[1].int())
    return float(accuracy)
