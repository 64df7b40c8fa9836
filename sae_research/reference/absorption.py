"""SAEBench's own absorption eval on our model and SAEs."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest.mock import patch

from sae_research.evals.absorption.settings import AbsorptionSettings
from sae_research.reference.adapter import SaeBenchSae, silenced
from sae_research.saes.base import Sae


@dataclass(frozen=True)
class SaeBenchAbsorptionPlan:
    """The content of SAEBench's config for the eval, and the seed, which SAEBench never sets."""

    settings: AbsorptionSettings
    seed: int
    llm_batch_size: int = 32
    precalculated: bool = False
    """Whether it encodes the training words once instead of in every epoch; off by default in SAEBench."""


class SaeBenchAbsorption(NamedTuple):
    """The report of SAEBench's absorption eval."""

    means: Mapping[str, float]
    """By SAEBench's key (`mean_absorption_fraction_score`)."""
    letters: Mapping[str, Mapping[str, float]]
    """Its `eval_result_details` by letter."""


def sae_bench_module() -> Any:
    """`sae_bench.evals.absorption.main`."""
    with silenced():
        from sae_bench.evals.absorption import main
    return main


def run_absorption(lens: Any, sae: Sae, plan: SaeBenchAbsorptionPlan, *, artifacts: Path) -> SaeBenchAbsorption | None:
    """`sae_bench.evals.absorption.main.run_eval` for one SAE; None if it finds too few letters.

    `artifacts` is its folder; the model's probe and activations that lie there are not computed again. SAEBench fixes
    the number of examples in a prompt at 10.
    """
    import torch

    if sae.card.site.kind != "resid_post" or plan.settings.n_examples != 10:
        raise ValueError("SAEBench's absorption reads resid_post alone, with 10 examples")
    random.seed(plan.seed)
    torch.manual_seed(plan.seed)
    graded = torch.is_grad_enabled()
    try:
        with _with_our_model(lens, sae, artifacts) as main, silenced():
            documents = main.run_eval(
                _config(main, plan, lens),
                [(sae.card.name, sae)],
                str(sae.W_dec.device),
                str(artifacts),
                force_rerun=True,
            )
    finally:
        # SAEBench switches gradients on for good.
        torch.set_grad_enabled(graded)
    if not documents:
        return None
    (document,) = documents.values()
    letters = {row["first_letter"]: row for row in document["eval_result_details"]}
    return SaeBenchAbsorption(document["eval_result_metrics"]["mean"], letters)


def _config(main: Any, plan: SaeBenchAbsorptionPlan, lens: Any) -> Any:
    settings = plan.settings
    return main.AbsorptionEvalConfig(
        model_name=lens.cfg.model_name,
        random_seed=plan.seed,
        f1_jump_threshold=settings.f1_jump_threshold,
        max_k_value=settings.max_k_value,
        prompt_template=settings.prompt_template,
        prompt_token_pos=settings.prompt_token_pos,
        llm_batch_size=plan.llm_batch_size,
        llm_dtype=str(lens.cfg.dtype).removeprefix("torch."),
        k_sparse_probe_l1_decay=settings.k_sparse_probe_l1_decay,
        k_sparse_probe_batch_size=settings.k_sparse_probe_batch_size,
        k_sparse_probe_num_epochs=settings.k_sparse_probe_num_epochs,
        min_GT_probe_f1=settings.min_probe_f1,
        min_feats_for_eval=settings.min_feats_for_eval,
        precalc_k_sparse_probe_sae_acts=plan.precalculated,
    )


def _modules_that_read_words() -> tuple[Any, ...]:
    with silenced():
        from sae_bench.evals.absorption import common, feature_absorption
    return common, feature_absorption


def _sorted_words(read: Callable[[Any], list[str]], tokenizer: Any) -> list[str]:
    """SAEBench takes words as a hash table of the tokenizers library has them, in another order at every call."""
    return sorted(read(tokenizer))


@contextmanager
def _with_our_model(lens: Any, sae: Sae, artifacts: Path) -> Iterator[Any]:
    """SAEBench's module with our model and SAE, and with all its folders in `artifacts`."""
    main = sae_bench_module()
    holder = SimpleNamespace(to=lambda **_: SaeBenchSae(sae))
    folders = {
        "run_k_sparse_probing_experiment": {
            "experiment_dir": artifacts / "k_sparse",
            "probes_dir": artifacts / "probes",
        },
        "run_feature_absortion_experiment": {
            "experiment_dir": artifacts / "absorption",
            "sparse_probing_experiment_dir": artifacts / "k_sparse",
            "probes_dir": artifacts / "probes",
        },
    }
    with ExitStack() as stack:
        # A model from a local folder has its path as its name, and SAEBench would write there.
        stack.enter_context(patch.object(lens.cfg, "model_name", "model"))
        loader = SimpleNamespace(from_pretrained_no_processing=lambda *_, **__: lens)
        stack.enter_context(patch.object(main, "HookedTransformer", loader))
        stack.enter_context(
            patch.object(main.general_utils, "load_and_format_sae", lambda *_: ("custom_sae", holder, None))
        )
        for module in _modules_that_read_words():
            stack.enter_context(
                patch.object(module, "get_alpha_tokens", partial(_sorted_words, module.get_alpha_tokens))
            )
        for name, arguments in folders.items():
            stack.enter_context(patch.object(main, name, partial(getattr(main, name), **arguments)))
        artifacts.mkdir(parents=True, exist_ok=True)
        stack.enter_context(contextlib.chdir(artifacts))
        yield main
