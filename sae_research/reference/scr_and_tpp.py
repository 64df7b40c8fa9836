"""SAEBench's own functions of SCR and TPP on our model, texts and SAEs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest.mock import patch

from sae_research.data.paired import PairPool
from sae_research.probes.sae_bench import SaeBenchRecipe
from sae_research.reference.adapter import SaeBenchSae, silenced
from sae_research.saes.base import Sae

if TYPE_CHECKING:
    from sae_research.data.labelled import LabelledSet


@dataclass(frozen=True)
class SaeBenchAblationPlan:
    """The content of SAEBench's config for both evals."""

    train_size: int
    test_size: int
    n_values: tuple[int, ...]
    seed: int
    context_size: int = 128
    llm_batch_size: int = 32
    recipe: SaeBenchRecipe = field(default_factory=SaeBenchRecipe)


class SaeBenchAblations(NamedTuple):
    """SAEBench's scores."""

    means: Mapping[str, float]
    """By SAEBench's key (`scr_metric_threshold_5`)."""
    details: Mapping[str, Mapping[str, float]]
    """The same for each of its runs, in order."""


def sae_bench_module() -> Any:
    """`sae_bench.evals.scr_and_tpp.main`."""
    with silenced():
        from sae_bench.evals.scr_and_tpp import main
    return main


def run_scr(
    lens: Any, sae: Sae, pools: Sequence[PairPool], plan: SaeBenchAblationPlan, *, artifacts: Path
) -> SaeBenchAblations:
    """`run_eval_single_sae` for SCR with the rows of `pools` instead of its data sets.

    `artifacts` is its folder of activations and probes; what lies there is not computed again.
    """
    main = sae_bench_module()
    names = {f"bias_in_bios/{pool.name}": pool for pool in pools}  # SAEBench accepts two names only.
    config = _config(
        main, lens, plan, perform_scr=True, dataset_names=list(names),
        column1_vals_lookup={name: list(pool.pairs) for name, pool in names.items()},
    )  # fmt: skip
    with _our_rows(main, names):
        return _run(main, lens, sae, config, artifacts)


def run_tpp(
    lens: Any, sae: Sae, sets: Sequence[LabelledSet], plan: SaeBenchAblationPlan, *, artifacts: Path
) -> SaeBenchAblations:
    """`run_eval_single_sae` for TPP with our texts; `artifacts` as in `run_scr`."""
    main = sae_bench_module()
    config = _config(main, lens, plan, perform_scr=False, dataset_names=[labelled.name for labelled in sets])
    with _our_texts(main, sets):
        return _run(main, lens, sae, config, artifacts)


def _config(main: Any, lens: Any, plan: SaeBenchAblationPlan, **of_eval: Any) -> Any:
    return main.ScrAndTppEvalConfig(
        random_seed=plan.seed,
        train_set_size=plan.train_size,
        test_set_size=plan.test_size,
        context_length=plan.context_size,
        llm_batch_size=plan.llm_batch_size,
        llm_dtype=str(lens.cfg.dtype).removeprefix("torch."),
        model_name=lens.cfg.model_name,
        n_values=list(plan.n_values),
        probe_epochs=plan.recipe.epochs,
        probe_train_batch_size=plan.recipe.batch_size,
        probe_lr=plan.recipe.rate,
        probe_l1_penalty=plan.recipe.l1,
        **of_eval,
    )


def _run(main: Any, lens: Any, sae: Sae, config: Any, artifacts: Path) -> SaeBenchAblations:
    import torch

    graded = torch.is_grad_enabled()
    try:
        with silenced():
            results, _ = main.run_eval_single_sae(config, SaeBenchSae(sae), lens, str(sae.W_dec.device), str(artifacts))
    finally:
        # SAEBench switches gradients on for good.
        torch.set_grad_enabled(graded)
    return SaeBenchAblations(
        {key: float(value) for key, value in results.items() if not isinstance(value, dict)},
        {key: value for key, value in results.items() if isinstance(value, dict)},
    )


@contextmanager
def _our_rows(main: Any, pools: Mapping[str, PairPool]) -> Iterator[None]:
    """Within the block SAEBench's data sets of biographies are the rows of `pools`."""
    info, creation = main.dataset_info, main.dataset_creation
    metadata = {name: _metadata(pool) for name, pool in pools.items()}
    with ExitStack() as stack:
        stack.enter_context(patch.object(creation, "load_dataset", lambda name: _rows(pools[name])))
        stack.enter_context(patch.dict(info.dataset_metadata, metadata))
        stack.enter_context(patch.dict(main.COLUMN2_VALS_LOOKUP, {name: p.groups for name, p in pools.items()}))
        yield


def _metadata(pool: PairPool) -> dict[str, Any]:
    return {
        "text_column_name": "text",
        "column1_name": "label",
        "column2_name": "group",
        "column1_mapping": {name: name for name in pool.train},
        "column2_mapping": {group: group for group in pool.groups},
    }


def _rows(pool: PairPool) -> dict[str, list[dict[str, str]]]:
    return {
        split: [
            {"text": text, "label": label, "group": group}
            for label, groups in classes.items()
            for group, texts in groups.items()
            for text in texts
        ]
        for split, classes in (("train", pool.train), ("test", pool.test))
    }


@contextmanager
def _our_texts(main: Any, sets: Sequence[LabelledSet]) -> Iterator[None]:
    """Within the block SAEBench's labelled data sets are `sets`."""
    by_name = {labelled.name: labelled for labelled in sets}

    def texts(name: str, *_: Any) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        return dict(by_name[name].train), dict(by_name[name].test)

    classes = {name: list(labelled.train) for name, labelled in by_name.items()}
    groups = dict.fromkeys(by_name, ("", ""))  # Looked up, but not used.
    with ExitStack() as stack:
        stack.enter_context(patch.object(main.dataset_utils, "get_multi_label_train_test_data", texts))
        stack.enter_context(patch.dict(main.dataset_info.chosen_classes_per_dataset, classes))
        stack.enter_context(patch.dict(main.COLUMN2_VALS_LOOKUP, groups))
        yield
