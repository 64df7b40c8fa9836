"""Judges on latents whose answer is known: the rule judge is fit, a judge that does not look is not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from support.outcomes import MakeSae

from sae_research.evals.base import EvalContext
from sae_research.evals.judged.counts import N_KNOWN, Counts
from sae_research.evals.judged.examples import Examples, SaeExamples
from sae_research.evals.judged.gate import Fitness, fitness_to_detect, fitness_to_write, quiz_of
from sae_research.evals.judged.known import gold_latents, null_latents
from sae_research.evals.judged.panel import open_panel
from sae_research.evals.judged.settings import JudgedSettings, JudgeReading
from sae_research.evals.shared.attempts import Attempt
from sae_research.evals.windows.corpus import Corpus
from sae_research.judges.access import JudgeAccess
from sae_research.judges.prompts import numbered_texts
from sae_research.judges.records import Message, Request, Sampling
from sae_research.sources.hub import Hub
from sae_research.sources.memory import GivenTexts

COUNTS = Counts()
EXPLAINING, SCORING, WRITING = Sampling(60), Sampling(40), Sampling(1500, temperature=1.0)
RULES = JudgedSettings(reading=JudgeReading("read"))
CALLER = JudgedSettings(judge="caller")
BOS = 0
_RNG = np.random.default_rng(3)
STEMS = list(dict.fromkeys("".join(_RNG.choice(list(part)) for part in ("bdfgk", "aeiou", "lmnrst", "aeiou"))
                           for _ in range(400)))[:150]  # fmt: skip
PIECES = ["<bos>", ",", *(f" {stem}" for stem in STEMS), " Zone", " zone", " pre", "fix", "12"]
"""Two spellings of one word, a word that is made of two tokens, and tokens that are no letters."""


class Pieces:
    """A tokenizer whose tokens are written one after the other."""

    def decode(self, ids: Sequence[int], **_: object) -> str:
        return "".join(PIECES[i] for i in ids)


def _tokens(seed: int, n_rows: int = 300) -> np.ndarray:
    """Rows of two documents; word i has a share of about 1 / (i + 30), and "prefix" is as frequent as the first."""
    rng = np.random.default_rng(seed)
    shares = np.array([0, 30, *(1000 / (i + 30) for i in range(len(STEMS))), 40, 40, 30, 0, 20])
    tokens = rng.choice(len(PIECES), size=(n_rows, 64), p=shares / shares.sum())
    pre = PIECES.index(" pre")
    tokens[:, 1:][tokens[:, :-1] == pre] = pre + 1
    tokens[:, [0, 40]] = BOS
    return tokens


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    tokens = _tokens(0)
    return Corpus(tokens, tokens != BOS, Pieces())  # type: ignore[arg-type]


@pytest.fixture
def with_reading(context: EvalContext) -> EvalContext:
    """The data set `read` is other text of the same words."""
    documents = tuple(Pieces().decode(row[1:40].tolist()) for row in _tokens(1, 600))
    return dataclasses.replace(context, hub=Hub(context.hub.world, {"read": GivenTexts(documents)}))


def _examples(corpus: Corpus, *attempts: Attempt) -> Examples:
    return Examples(corpus, {attempt: SaeExamples() for attempt in attempts})


def _detects(context: EvalContext, corpus: Corpus, settings: JudgedSettings = RULES, *attempts: Attempt) -> Fitness:
    return fitness_to_detect(
        open_panel(context, settings), _examples(corpus, *attempts), settings,
        explaining=EXPLAINING, scoring=SCORING, seed=0, counts=COUNTS,
    )  # fmt: skip


def _writes(context: EvalContext, corpus: Corpus, settings: JudgedSettings = RULES) -> Fitness:
    return fitness_to_write(
        open_panel(context, settings), _examples(corpus), settings, writing=WRITING, n_texts=11, seed=0, counts=COUNTS
    )


def _asking(context: EvalContext, judge: Callable[[list[dict[str, str]]], str]) -> EvalContext:
    return dataclasses.replace(context, judges=JudgeAccess(caller=judge))


def test_gold_latents_are_active_exactly_on_one_whole_word(corpus: Corpus) -> None:
    latents = gold_latents(corpus, seed=0, counts=COUNTS)
    assert len(latents) == N_KNOWN
    words = [gold.word for gold in latents]
    assert not {"zone", "Zone", "pre", "fix", "12", ","} & set(words)
    for gold in latents:
        firings = gold.examples.firings
        places = np.argwhere(corpus.tokens == PIECES.index(f" {gold.word}"))
        assert np.array_equal(np.stack([firings.rows, firings.positions], axis=1), places)
        assert firings.activations.min() >= 0.5
        assert all(gold.word not in corpus.text(*window) for window in gold.examples.windows.silent)
    # The most frequent words have no silent windows; among the others the frequent come first.
    counts = [len(gold.examples.firings.rows) for gold in latents]
    assert counts == sorted(counts, reverse=True)


def test_null_latents_are_active_anywhere(corpus: Corpus) -> None:
    latents = null_latents(corpus, seed=0, counts=COUNTS)
    assert len(latents) == N_KNOWN
    for latent in latents:
        assert corpus.real[latent.firings.rows, latent.firings.positions].all()
    tokens = np.concatenate([corpus.tokens[one.firings.rows, one.firings.positions] for one in latents])
    shares = np.bincount(tokens, minlength=len(PIECES)) / len(tokens)
    assert shares == pytest.approx(np.bincount(corpus.tokens[corpus.real]) / corpus.real.sum(), abs=0.01)


def test_the_rule_judge_finds_words_and_nothing_in_noise(with_reading: EvalContext, corpus: Corpus) -> None:
    fitness = _detects(with_reading, corpus)
    assert fitness.unfit is None
    gold, null = fitness.measurements
    assert gold.metric == "judge_gold_score" and float(gold.value or 0) > 0.95
    assert null.metric == "judge_null_balanced_accuracy"
    assert float(null.ci_low or 0) < 0.5 < float(null.ci_high or 0)
    writing = _writes(with_reading, corpus)
    assert writing.unfit is None
    assert (
        writing.measurements[0].metric == "judge_gold_compliance" and float(writing.measurements[0].value or 0) > 0.95
    )


def test_what_is_asked_is_the_same_for_all_saes(context: EvalContext, corpus: Corpus, make_sae: MakeSae) -> None:
    asked: list[list[dict[str, str]]] = []

    def judge(messages: list[dict[str, str]]) -> str:
        asked.append(messages)
        return "none"

    one = _detects(_asking(context, judge), corpus, CALLER, Attempt(make_sae("topk", k=4)))
    first, asked = asked, []
    other = _detects(_asking(context, judge), corpus, CALLER, *(Attempt(make_sae("topk", k=k)) for k in (5, 6)))
    assert first == asked and one == other


def test_a_judge_that_says_none_is_not_fit(context: EvalContext, corpus: Corpus) -> None:
    fitness = _detects(_asking(context, lambda _: "none"), corpus, CALLER)
    assert fitness.unfit == "the judge is not fit: judge_gold_score is 0.714, below min_judge_gold = 0.9"
    assert fitness.measurements[1].value == 0.5
    tolerant = dataclasses.replace(CALLER, min_judge_gold=0.0)
    assert _detects(_asking(context, lambda _: "none"), corpus, tolerant).unfit is None


@pytest.mark.parametrize("said", ["", "I cannot tell."])
def test_a_judge_that_cannot_be_read_is_not_fit(said: str, context: EvalContext, corpus: Corpus) -> None:
    fitness = _detects(_asking(context, lambda _: said), corpus, CALLER)
    assert fitness.unfit == "the judge gave no answer that can be read about latents that are one word"
    assert _writes(_asking(context, lambda _: said), corpus, CALLER).unfit == fitness.unfit


def test_a_judge_that_fails_on_every_fifth_word_is_not_fit(with_reading: EvalContext, corpus: Corpus) -> None:
    honest = open_panel(with_reading, RULES)._judge  # pyright: ignore[reportPrivateUsage]
    words = [gold.word for gold in gold_latents(corpus, seed=0, counts=COUNTS)][::5]

    def judge(messages: list[dict[str, str]]) -> str:
        [answer] = honest.answer([Request(tuple(Message(m["role"], m["content"]) for m in messages), 60)])  # type: ignore[arg-type]
        return "?" if any(f'"{word}"' in messages[1]["content"] for word in words) else answer.text  # type: ignore[union-attr]

    fitness = _detects(_asking(with_reading, judge), corpus, CALLER)
    assert fitness.unfit == "the judge's answers cannot be read for 4 of 20 latents that are one word"


def test_lengths_of_windows_tell_nothing(corpus: Corpus) -> None:
    """A judge that takes the longer half of the windows for active is at chance."""
    latents = [*(gold.examples for gold in gold_latents(corpus, seed=0, counts=COUNTS)),
               *null_latents(corpus, seed=0, counts=COUNTS)]  # fmt: skip
    balanced = []
    for latent in latents:
        quiz = quiz_of(_examples(corpus), latent, seed=0)
        lengths = [len(text) for text in numbered_texts(quiz.messages("long texts")[1].text)]
        longer = np.argsort(lengths)[7:] + 1
        balanced.append(quiz.mark(frozenset(longer.tolist())).balanced_accuracy)
    assert np.mean(balanced) == pytest.approx(0.5, abs=3 * np.std(balanced) / len(balanced) ** 0.5)


def test_a_text_without_words_tests_no_judge(context: EvalContext, corpus: Corpus) -> None:
    tokens = np.where(corpus.tokens == BOS, BOS, PIECES.index("12"))
    bare: Any = Corpus(tokens, tokens != BOS, Pieces())  # type: ignore[arg-type]
    fitness = _detects(_asking(context, lambda _: "none"), bare, CALLER)
    assert fitness.unfit == "the judge could not be tested: no word of the text has enough windows"
    assert fitness.measurements[0].value is None
