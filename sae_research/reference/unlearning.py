"""SAEBench's own unlearning on our model, corpora, questions and SAEs.

SAEBench accepts two Gemma models by name and asks for letters. We pass our model under one of those names. Where
answers are read by their text, we replace SAEBench's prompt and its reading of the answer, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_research.evals.unlearning.prompt_formats import prompt_of, template_of
from sae_research.evals.unlearning.questions import Question
from sae_research.evals.unlearning.settings import UnlearningSettings
from sae_research.lm.tokens import bos_id, encode_plain
from sae_research.reference.adapter import SaeBenchSae, silenced
from sae_research.saes.base import Sae

_ACCEPTED_NAME = "gemma-2-2b-it"
_BEFORE_SUBJECT, _AFTER_SUBJECT = "The following are multiple choice questions (with answers) about ", ".\n"
"""SAEBench's text around a subject before each question."""
FORGET = "wmdp-bio"
"""SAEBench's name for the questions to forget; all others are harmless."""


class SaeBenchAccuracies(NamedTuple):
    """SAEBench's accuracies under one intervention."""

    forget: float
    side_effects: float


class SaeBenchUnlearning(NamedTuple):
    """The report of SAEBench's unlearning eval."""

    score: float
    grid: Mapping[tuple[float, int, int], SaeBenchAccuracies]
    """By retain threshold, number of latents and multiplier; the number counts the latents that were available."""
    forget_rates: Float[Tensor, " d_sae"]
    retain_rates: Float[Tensor, " d_sae"]


@dataclass(frozen=True)
class SaeBenchInputs:
    """The inputs of SAEBench, instead of its own data."""

    forget_rows: Int[Tensor, "row position"]
    retain_rows: Int[Tensor, "row position"]
    questions: Mapping[str, Sequence[Question]]
    """By subject, with `FORGET` among them."""
    known: Mapping[str, Sequence[int]] | None = None
    """The questions of each subject that count; None: SAEBench finds them by asking in all orders."""


def run_unlearning(
    lens: Any,
    sae: Sae,
    inputs: SaeBenchInputs,
    settings: UnlearningSettings,
    *,
    artifacts: Path,
    batch_size: int,
    seed: int,
) -> SaeBenchUnlearning:
    """`run_eval_single_sae`, `get_metrics_df` and `get_unlearning_scores` of `sae_bench.evals.unlearning`."""
    main = sae_bench_module()
    config = main.UnlearningEvalConfig(
        random_seed=seed,
        dataset_names=list(inputs.questions),
        retain_thresholds=list(settings.retain_thresholds),
        n_features_list=list(settings.n_latents),
        multipliers=list(settings.multipliers),
        llm_batch_size=batch_size,
        model_name=_ACCEPTED_NAME,
    )
    if inputs.known is not None:
        _write_known(artifacts, inputs.known)
    name = sae.card.name
    with _our_inputs(lens, inputs, settings), silenced():
        # Like SAEBench itself, this reuses the known questions that an earlier run left in the folder.
        main.run_eval_single_sae(lens, SaeBenchSae(sae), config, str(artifacts), name, False)
        frame = main.get_metrics_df(str(artifacts / name / "results/metrics"))
        score = float(main.get_unlearning_scores(frame.copy()))
    rates = [
        np.loadtxt(artifacts / name / f"results/sparsities/feature_sparsity_{c}.txt") for c in ("forget", "retain")
    ]
    grid = {
        (row.retain_thres, int(row.n_features), int(row.multiplier)): SaeBenchAccuracies(
            row.forget, row.all_side_effects_mcq
        )
        for row in frame.rename(columns={FORGET: "forget"}).itertuples()
    }
    return SaeBenchUnlearning(score, grid, *(torch.from_numpy(values) for values in rates))


def sae_bench_module() -> Any:
    """`sae_bench.evals.unlearning.main`."""
    with silenced():
        from sae_bench.evals.unlearning import main
    return main


def _write_known(artifacts: Path, known: Mapping[str, Sequence[int]]) -> None:
    """Writes the files in which SAEBench stores the questions that count."""
    for subject, places in known.items():
        name = subject if subject == FORGET else f"mmlu-{subject.replace('_', '-')}"
        for split in ("train", "test", "all"):
            for kind in ("correct", "correct-iff-question", "correct-no-tricks"):
                path = artifacts / "data/question_ids" / split / f"{name}_{kind}.csv"
                path.parent.mkdir(parents=True, exist_ok=True)
                np.savetxt(path, np.asarray(places, dtype=int), fmt="%d")


@contextmanager
def _our_inputs(lens: Any, inputs: SaeBenchInputs, settings: UnlearningSettings) -> Iterator[None]:
    """Within the block SAEBench reads `inputs` and accepts the model as one that it knows."""
    with silenced():
        from sae_bench.evals.unlearning.utils import feature_activation, metrics

    def rows(*_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        return inputs.forget_rows, inputs.retain_rows

    def questions(_path: str, subject: str, **_options: Any) -> list[dict[str, Any]]:
        return [q._asdict() for q in inputs.questions[subject]]

    graded, name = torch.is_grad_enabled(), lens.cfg.model_name
    with ExitStack() as stack:
        stack.enter_context(patch.object(feature_activation, "get_shuffled_forget_retain_tokens", rows))
        stack.enter_context(patch.object(metrics, "load_dataset_with_retries", questions))
        stack.enter_context(patch.object(metrics, "load_dataset", questions))
        if settings.protocol == "option_text":
            stack.enter_context(patch.object(metrics, "convert_wmdp_data_to_prompt", _prompt_maker(settings)))
            stack.enter_context(patch.object(metrics, "get_output_probs_abcd", _output_probs))
        lens.cfg.model_name = _ACCEPTED_NAME
        try:
            yield
        finally:
            lens.cfg.model_name = name
            # SAEBench switches gradients off for good.
            torch.set_grad_enabled(graded)


class _PromptWithOptions(str):
    """A prompt that carries its options."""

    options: tuple[str, ...]


def _prompt_maker(settings: UnlearningSettings) -> Any:
    """Replaces `convert_wmdp_data_to_prompt`."""
    template = template_of(settings.prompt_format)

    def make_prompt(
        question: str,
        choices: list[str],
        *,
        pre_question: str,
        permute_choices: Any = None,
        without_question: bool = False,
        **_: Any,
    ) -> str:
        options = tuple(choices[i] for i in permute_choices) if permute_choices is not None else tuple(choices)
        subject = pre_question.removeprefix(_BEFORE_SUBJECT).removesuffix(_AFTER_SUBJECT)
        prompt = _PromptWithOptions(
            prompt_of(Question(subject, "" if without_question else question, options, 0), template)
        )
        prompt.options = options
        return prompt

    return make_prompt


def _output_probs(
    model: Any, prompts: Sequence[_PromptWithOptions], batch_size: int = 2, n_batches: int = 100, verbose: bool = True
) -> Float[Tensor, "prompt option"]:
    """Replaces `get_output_probs_abcd` and does the same with each option's (one-token) text instead of a letter."""
    tokenizer = model.tokenizer
    probabilities = []
    for i in range(n_batches):
        part = prompts[i * batch_size : (i + 1) * batch_size]
        rows = [[bos_id(tokenizer), *ids] for ids in encode_plain(tokenizer, part)]
        tokens = torch.full((len(rows), max(map(len, rows))), int(tokenizer.pad_token_id), device=model.cfg.device)
        for row, ids in zip(tokens, rows, strict=True):
            row[: len(ids)] = torch.tensor(ids)
        options = torch.tensor(
            [[ids[0] for ids in encode_plain(tokenizer, [f" {o}" for o in p.options])] for p in part]
        )
        last = torch.tensor([len(ids) - 1 for ids in rows])
        logits = model(tokens, return_type="logits")[torch.arange(len(part)), last]
        probabilities.append(logits.softmax(-1).gather(1, options.to(logits.device)))
    return torch.vstack(probabilities)
