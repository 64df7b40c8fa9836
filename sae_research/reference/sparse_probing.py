"""SAEBench's own functions of sparse probing on our model, texts and SAEs."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest.mock import patch

from jaxtyping import Bool, Float, Int
from torch import Tensor

from sae_research.reference.peer_sae import PeerSae
from sae_research.reference.silence import silenced
from sae_research.saes.base import Sae

if TYPE_CHECKING:
    from sae_research.data.labelled import LabelledSet


class PeerPools(NamedTuple):
    """SAEBench's means over the real tokens of each text."""

    channels: Float[Tensor, "texts d"]
    codes: Float[Tensor, "texts d_sae"]


@dataclass(frozen=True)
class PeerProbingPlan:
    """What SAEBench's config of the eval holds."""

    k_values: tuple[int, ...]
    seed: int
    context_size: int = 128
    llm_batch_size: int = 32
    lower_vram_usage: bool = False
    """Whether the full-width probe of the latents is left out; the draws then depend on the seed alone."""


class PeerProbing(NamedTuple):
    """What SAEBench's sparse probing found."""

    means: Mapping[str, float]
    """Over classes, then data sets, by SAEBench's key (`sae_top_5_test_accuracy`)."""
    per_class: Mapping[str, Mapping[str, Mapping[str, float]]]
    """Test accuracy by data set, SAEBench's key, class."""


def _modules() -> tuple[Any, Any, Any]:
    peer_module()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sae_bench.evals.sparse_probing import probe_training
        from sae_bench.sae_bench_utils import activation_collection, dataset_utils
    return probe_training, activation_collection, dataset_utils


def peer_module() -> Any:
    """`sae_bench.evals.sparse_probing.main`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sae_bench.evals.sparse_probing import main
    return main


@contextmanager
def _without_shape_checks() -> Iterator[None]:
    """Without SAEBench's run-time shape checks: two of these contradict each other, so that it stops."""
    import jaxtyping

    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", before)


def run_sparse_probing(
    lens: Any, sae: Sae, sets: Sequence[LabelledSet], plan: PeerProbingPlan, *, artifacts: Path
) -> PeerProbing:
    """`sae_bench.evals.sparse_probing.main.run_eval_single_sae`, its texts replaced by ours.

    `artifacts` is its folder of activations and of the model's own probes: what it finds there it does not compute.
    """
    import torch

    main = peer_module()
    config = main.SparseProbingEvalConfig(
        random_seed=plan.seed,
        dataset_names=[labelled.name for labelled in sets],
        probe_train_set_size=2 * _size(sets[0].train),
        probe_test_set_size=2 * _size(sets[0].test),
        context_length=plan.context_size,
        llm_batch_size=plan.llm_batch_size,
        llm_dtype=str(lens.cfg.dtype).removeprefix("torch."),
        model_name=lens.cfg.model_name,
        k_values=list(plan.k_values),
        lower_vram_usage=plan.lower_vram_usage,
    )
    graded = torch.is_grad_enabled()
    try:
        with _our_texts(main, sets), _without_shape_checks(), silenced():
            means, per_class = main.run_eval_single_sae(
                config, PeerSae(sae), lens, str(sae.W_dec.device), str(artifacts)
            )
    finally:
        # SAEBench switches gradients on for good.
        torch.set_grad_enabled(graded)
    names = [labelled.name for labelled in sets]
    scalars = {key: float(value) for key, value in means.items() if not isinstance(value, dict)}
    return PeerProbing(scalars, {name: per_class[f"{name}_results"] for name in names})


def _size(classes: Mapping[str, Sequence[str]]) -> int:
    return len(next(iter(classes.values())))


@contextmanager
def _our_texts(main: Any, sets: Sequence[LabelledSet]) -> Iterator[None]:
    """Within the block SAEBench's data sets are `sets`."""
    by_name = {labelled.name: labelled for labelled in sets}

    def texts(name: str, *_: Any) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        return dict(by_name[name].train), dict(by_name[name].test)

    classes = {name: list(labelled.train) for name, labelled in by_name.items()}
    with (
        patch.object(main.dataset_utils, "get_multi_label_train_test_data", texts),
        patch.dict(main.dataset_info.chosen_classes_per_dataset, classes),
    ):
        yield


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
