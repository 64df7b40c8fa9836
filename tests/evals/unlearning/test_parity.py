"""Our unlearning beside that of the real sae_bench 0.6.0, on a small Gemma 2 with random weights."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.outcomes import MakeSae
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import Gemma2Config, Gemma2ForCausalLM, PreTrainedTokenizerFast

from sae_research.evals.base import EvalContext
from sae_research.evals.shared.attempts import Attempt
from sae_research.evals.unlearning.firing import count_firing
from sae_research.evals.unlearning.measure import UnlearningInputs, find_known, measure_unlearning
from sae_research.evals.unlearning.prompts import Prompter
from sae_research.evals.unlearning.questions import Question
from sae_research.evals.unlearning.report import QuestionSet
from sae_research.evals.unlearning.settings import UnlearningSettings
from sae_research.lm.load import load_language_model
from sae_research.lm.model import LanguageModel
from sae_research.lm.site import Site
from sae_research.progress import Progress
from sae_research.reference.lens import load_lens
from sae_research.reference.unlearning import FORGET, SaeBenchInputs, run_unlearning
from sae_research.sources.hub import Hub

SITE = Site(0, "resid_post")
SETTINGS = UnlearningSettings(
    prompt_format="gemma", required_orders=1, select_on="same_questions", retain_thresholds=(0.4, 0.6),
    n_latents=(1, 3), multipliers=(1, 3), side_effect_floor=0.99,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has words for the letters and the turns of Gemma's prompt."""
    special = ["<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"]
    letters = [*"ABCD", "A.", "B.", "C.", "D.", "user", "model", "Answer:", "("]
    words = [*special, *letters, *(f"w{i}" for i in range(80))]
    plain = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="w0"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>", padding_side="right",
        additional_special_tokens=special[3:],
    )  # fmt: skip
    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=3, num_attention_heads=2, num_key_value_heads=1,
        head_dim=8, intermediate_size=32, query_pre_attn_scalar=8, max_position_embeddings=128, sliding_window=64,
        initializer_range=0.5, pad_token_id=0, eos_token_id=1, bos_token_id=2,
    )  # fmt: skip
    target = tmp_path_factory.mktemp("model")
    Gemma2ForCausalLM(config).save_pretrained(target)
    tokenizer.save_pretrained(target)
    return target


@pytest.fixture(scope="module")
def lm(folder: Path) -> LanguageModel:
    return load_language_model(Hub(folder), str(folder), device="cpu")


def _questions(n: int, seed: int) -> list[Question]:
    rng = np.random.default_rng(seed)

    def words(k: int) -> list[str]:
        return [f"w{w}" for w in rng.choice(np.arange(1, 80), k, replace=False)]

    return [Question("", " ".join(words(5)), tuple(words(4)), int(rng.integers(4))) for _ in range(n)]


@pytest.mark.parametrize("architecture", ["relu", "topk"])
@pytest.mark.parametrize("protocol", ["letters", "option_text"])
def test_every_number_is_sae_benchs(
    folder: Path, lm: LanguageModel, make_sae: MakeSae, tmp_path: Path, protocol: Any, architecture: str
) -> None:
    sae = make_sae(architecture, d_sae=48, **({"k": 6} if architecture == "topk" else {}))
    settings = dataclasses.replace(SETTINGS, protocol=protocol)
    asked = {FORGET: _questions(160, 1), "human_aging": _questions(120, 2), "some_history": _questions(120, 3)}
    asked = {subject: [q._replace(subject=subject) for q in own] for subject, own in asked.items()}
    generator = torch.Generator().manual_seed(4)
    forget_rows, retain_rows = (torch.randint(5, 97, (6, 40), generator=generator) for _ in range(2))
    forget_rows[:, 0] = retain_rows[:, 0] = 2
    retain_rows[:, 9] = 1

    every = [q for own in asked.values() for q in own]
    yes = np.ones(len(every), dtype=bool)
    questions = QuestionSet(every, np.array([q.subject == FORGET for q in every]), yes, yes)
    context = EvalContext(lm=lm, hub=Hub(folder), seed=0, batch_size=4, progress=Progress("test", shown=False))
    with torch.no_grad():
        prompter = Prompter(lm.tokenizer, settings.prompt_format, protocol)
        known = find_known(context, SITE, questions, prompter, required_orders=1)
    counted = {id(q) for q in known.questions}
    places = {subject: [i for i, q in enumerate(own) if id(q) in counted] for subject, own in asked.items()}
    assert all(len(own) > 20 for own in places.values())

    theirs = run_unlearning(
        load_lens(folder), sae, SaeBenchInputs(forget_rows, retain_rows, asked, places), settings,
        artifacts=tmp_path, batch_size=8, seed=0,
    )  # fmt: skip
    (ours,) = measure_unlearning(context, [sae], UnlearningInputs(forget_rows, retain_rows, questions), settings)
    assert ours.output is not None, ours.error
    attempt = Attempt(sae)
    with torch.no_grad():
        for rows, rates in ((forget_rows, theirs.forget_rates), (retain_rows, theirs.retain_rates)):
            found = count_firing(context, [attempt], SITE, rows).rates[attempt]
            torch.testing.assert_close(found, rates, atol=1e-6, rtol=0)
    values = {(m.metric, *m.at.values()): m.value for m in ours.output.measurements}
    assert values["unlearning_score",] == pytest.approx(theirs.score, abs=1e-6)
    assert len(theirs.grid) == 8
    for at, accuracies in theirs.grid.items():
        assert values[("forget_accuracy", *at)] == pytest.approx(accuracies.forget, abs=1e-6)
        assert values[("side_effect_accuracy", *at)] == pytest.approx(accuracies.side_effects, abs=1e-6)
    assert len({accuracies.forget for accuracies in theirs.grid.values()}) > 1
