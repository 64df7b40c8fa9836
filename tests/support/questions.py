"""Multiple-choice questions of random words, and the option that a plain run of the model finds likeliest."""

from __future__ import annotations

import numpy as np
import torch

from sae_research.evals.unlearning.corpora import Corpus
from sae_research.evals.unlearning.questions import Question, QuestionSource
from sae_research.evals.unlearning.settings import UnlearningSettings
from sae_research.lm.model import LanguageModel
from sae_research.lm.site import Site

SITE = Site(0, "resid_post")
FORMAT = "w50 {question} w51{lettered} w52 {listed} w53"
SETTINGS = UnlearningSettings(
    forget_corpus=Corpus("embedded/forget"),
    retain_corpus=Corpus("embedded/retain"),
    n_rows=12,
    context_size=12,
    forget_questions=QuestionSource("embedded/facts", ("poison",)),
    harmless_questions=QuestionSource("embedded/facts", ("birds", "gems")),
    prompt_format=FORMAT,
    protocol="option_text",
    required_orders=1,
    retain_thresholds=(0.2, 0.9),
    n_latents=(2, 5),
    multipliers=(2, 8),
)
ARCHITECTURES = {"relu": {}, "topk": {"k": 6}, "jumprelu": {}, "mpsae": {"s": 4}, "ihtp": {"k": 1}}


def words(rng: np.random.Generator, n: int) -> str:
    return " ".join(f"w{w}" for w in rng.integers(3, 58, n))


def some_questions(n: int, *, seed: int = 0, subject: str = "poison") -> list[Question]:
    """Options of one to three words."""
    rng = np.random.default_rng(seed)
    return [
        Question(subject, words(rng, 4), tuple(words(rng, int(rng.integers(1, 4))) for _ in range(2 + i % 3)), i % 2)
        for i in range(n)
    ]


def likeliest(lm: LanguageModel, question: Question, protocol: str) -> int:
    """The option that a plain run finds likeliest, one option at a time."""
    text = FORMAT.format(
        question=question.question, listed=", ".join(question.choices),
        lettered="".join(f"\n{letter}. {choice}" for letter, choice in zip("ABCD", question.choices, strict=False)),
    )  # fmt: skip
    ids = [2, *lm.tokenizer(text, add_special_tokens=False)["input_ids"]]
    scores = []
    for letter, choice in zip("ABCD", question.choices, strict=False):
        option = lm.tokenizer(choice if protocol == "option_text" else letter, add_special_tokens=False)["input_ids"]
        log_p = lm.logits(torch.tensor([ids + option]))[0].log_softmax(-1)
        scores.append(sum(float(log_p[len(ids) - 1 + i, token]) for i, token in enumerate(option)))
    return int(np.argmax(scores))
