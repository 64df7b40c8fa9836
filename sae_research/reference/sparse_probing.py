"""SAEBench's own functions of sparse probing on our model, texts and SAEs."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sae_research.data.labelled import LabelledSet
from sae_research.evals.base import EvalContext, Outcome
from sae_research.evals.shared.attempts import Attempt
from sae_research.evals.shared.probing_sets import probing_sets
from sae_research.evals.sparse_probing.settings import SparseProbingSettings
from sae_research.measurements import EvalOutput, Measurement, measured
from sae_research.metrics.intervals import average, wilson
from sae_research.reference.adapter import SaeBenchSae, not_computed, silenced
from sae_research.reference.lens import lens_of
from sae_research.saes.architectures.identity import IdentitySae
from sae_research.saes.base import Sae, SaeCard


class SaeBenchPools(NamedTuple):
    """SAEBench's means over the real tokens of each text."""

    channels: Float[Tensor, "texts d"]
    codes: Float[Tensor, "texts d_sae"]


@dataclass(frozen=True)
class SaeBenchProbingPlan:
    """The content of SAEBench's config for the eval."""

    k_values: tuple[int, ...]
    seed: int
    context_size: int = 128
    llm_batch_size: int = 32
    lower_vram_usage: bool = False
    """Whether to leave out the full-width probe of the latents; the draws then depend on the seed only."""


class SaeBenchProbing(NamedTuple):
    """The report of SAEBench's sparse probing."""

    means: Mapping[str, float]
    """Over classes, then data sets, by SAEBench's key (`sae_top_5_test_accuracy`)."""
    per_class: Mapping[str, Mapping[str, Mapping[str, float]]]
    """Test accuracy by data set, SAEBench's key, class."""


def _modules() -> tuple[Any, Any, Any]:
    sae_bench_module()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sae_bench.evals.sparse_probing import probe_training
        from sae_bench.sae_bench_utils import activation_collection, dataset_utils
    return probe_training, activation_collection, dataset_utils


def sae_bench_module() -> Any:
    """`sae_bench.evals.sparse_probing.main`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sae_bench.evals.sparse_probing import main
    return main


@contextmanager
def _without_shape_checks() -> Iterator[None]:
    """Within the block SAEBench's shape checks are off: two of them contradict each other and would stop it."""
    import jaxtyping

    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", before)


def run_sparse_probing(
    lens: Any, sae: Sae, sets: Sequence[LabelledSet], plan: SaeBenchProbingPlan, *, artifacts: Path
) -> SaeBenchProbing:
    """`sae_bench.evals.sparse_probing.main.run_eval_single_sae` with our texts.

    `artifacts` is its folder of activations and of the model's own probes; what lies there is not computed again.
    """
    main = sae_bench_module()
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
                config, SaeBenchSae(sae), lens, str(sae.W_dec.device), str(artifacts)
            )
    finally:
        # SAEBench switches gradients on for good.
        torch.set_grad_enabled(graded)
    names = [labelled.name for labelled in sets]
    scalars = {key: float(value) for key, value in means.items() if not isinstance(value, dict)}
    return SaeBenchProbing(scalars, {name: per_class[f"{name}_results"] for name in names})


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


def pool(lens: Any, sae: Sae, texts: Sequence[str], *, context_size: int) -> SaeBenchPools:
    """The input of SAEBench's probes for `texts`, by `tokenize_data_dictionary` and `activation_collection`."""
    _, collection, data = _modules()
    site = sae.card.site
    tokens = data.tokenize_data_dictionary({"all": list(texts)}, lens.tokenizer, context_size, "cpu")
    acts = collection.get_all_llm_activations(
        tokens, lens, len(texts), site.layer, site.hook_name, mask_bos_pad_eos_tokens=True
    )
    codes = collection.get_sae_meaned_activations(acts, SaeBenchSae(sae), 125)
    return SaeBenchPools(collection.create_meaned_model_activations(acts)["all"], codes["all"])


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
        # The `penalty` argument that SAEBench passes is deprecated in scikit-learn.
        warnings.simplefilter("ignore")
        _, accuracy = training.train_sklearn_probe(train[0], train[1].int(), test[0], test[1].int())
    return float(accuracy)


_KINDS = ("llm", "sae")


def run(context: EvalContext, saes: Sequence[Sae], settings: SparseProbingSettings) -> Iterator[Outcome]:
    """The outcome of every SAE; SAEBench caches the model's activations in a temporary folder."""
    sets = probing_sets(context, settings)
    lens = lens_of(context)
    context.progress.expect(len(saes) + 1)
    with tempfile.TemporaryDirectory(prefix="sae_bench-") as folder:
        artifacts = Path(folder)
        _fill(artifacts, lens, sets, _plan(context, settings, saes[0].card.d_in), saes[0])
        context.progress.advance(doing="language model")
        for sae in saes:
            plan = _plan(context, settings, min(sae.card.d_in, sae.card.d_sae))
            yield Attempt(sae).finish(
                lambda sae=sae, plan=plan: _output(
                    run_sparse_probing(lens, sae, sets, plan, artifacts=artifacts), sets, settings.k_values
                )
            )
            context.progress.advance(doing=sae.card.name)


def _plan(context: EvalContext, settings: SparseProbingSettings, width: int) -> SaeBenchProbingPlan:
    """SAEBench's config, without values of k above the number of channels or latents, at which SAEBench stops."""
    return SaeBenchProbingPlan(
        k_values=tuple(k for k in settings.k_values if k <= width),
        seed=context.seed,
        context_size=settings.context_size,
        llm_batch_size=context.batch_size,
        lower_vram_usage=settings.sampling == "sae_bench" or not settings.wide_probes,
    )


def _fill(artifacts: Path, lens: Any, sets: Sequence[LabelledSet], plan: SaeBenchProbingPlan, example: Sae) -> None:
    """Fills SAEBench's cache: its draws for an SAE depend on whether the cache is filled, so it always is."""
    card = example.card
    plain = SaeCard(
        name="identity",
        architecture="identity",
        site=card.site,
        d_in=card.d_in,
        d_sae=card.d_in,
        model_name=card.model_name,
    )
    sae = IdentitySae(plain, {}).to(example.W_dec.device, example.W_dec.dtype)
    run_sparse_probing(lens, sae, sets, plan, artifacts=artifacts)
    torch.cuda.empty_cache()


def _output(reported: SaeBenchProbing, sets: Sequence[LabelledSet], k_values: Sequence[int]) -> EvalOutput:
    sizes = {labelled.name: 2 * len(next(iter(labelled.test.values()))) for labelled in sets}
    measurements: list[Measurement] = []
    for kind in _KINDS:
        measurements.append(not_computed(f"{kind}_test_accuracy"))
        wide = _accuracies(reported, f"{kind}_test_accuracy")
        measurements += _measurements(f"{kind}_test_accuracy_sae_bench", {}, wide, sizes)
        for k in k_values:
            top = _accuracies(reported, f"{kind}_top_{k}_test_accuracy")
            measurements += _measurements(f"{kind}_top_k_test_accuracy", {"k": k}, top, sizes)
    per_class = {name: _without_missing(results) for name, results in reported.per_class.items()}
    return EvalOutput(
        tuple(measurements),
        details=[
            {"dataset_name": f"{name}_results", **{key: fmean(shares.values()) for key, shares in results.items()}}
            for name, results in per_class.items()
        ],
        unstructured={f"{name}_results": results for name, results in per_class.items()},
    )


def _accuracies(reported: SaeBenchProbing, key: str) -> dict[str, Mapping[str, float]]:
    """Test accuracy by data set and class; data sets for which SAEBench has none are absent."""
    by_set = {name: _without_missing(results).get(key) for name, results in reported.per_class.items()}
    return {name: by_class for name, by_class in by_set.items() if by_class}


def _without_missing(results: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Without the accuracies that SAEBench left out, which it writes as -1 for a class named -1."""
    return {key: {name: float(share) for name, share in shares.items()} for key, shares in results.items()
            if set(shares) != {"-1"}}  # fmt: skip


def _measurements(
    metric: str, at: dict[str, int | float | str], sets: Mapping[str, Mapping[str, float]], sizes: Mapping[str, int]
) -> Iterator[Measurement]:
    """The mean over data sets of the mean over classes, then each data set's own."""
    if len(sets) < len(sizes):
        yield not_computed(metric, at)
        return
    means = {
        name: average([wilson(round(share * sizes[name]), sizes[name]) for share in shares.values()])
        for name, shares in sets.items()
    }
    yield measured(metric, average(list(means.values())), at)
    for name, estimate in means.items():
        yield measured(metric, estimate, {**at, "dataset": name})
