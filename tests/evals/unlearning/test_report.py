"""The chosen intervention and the score, by hand and by SAEBench's formula."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from support.questions import SETTINGS

from sae_research.evals.unlearning.grid import Clamp
from sae_research.evals.unlearning.questions import Question
from sae_research.evals.unlearning.report import ClampedAnswers, QuestionSet, choose_clamp, unlearning_output


def _known(forget: int, harmless: int, *, same: bool = False) -> QuestionSet:
    """`forget` forget and `harmless` harmless questions to select, as many to report."""
    is_forget = np.array(([True] * forget + [False] * harmless) * (1 if same else 2))
    selects = np.ones_like(is_forget) if same else np.arange(len(is_forget)) < forget + harmless
    questions = [Question("poison" if f else "birds", "", ("a", "b"), 0) for f in is_forget]
    return QuestionSet(questions, is_forget, selects, np.ones_like(selects) if same else ~selects)


def test_the_lowest_forget_accuracy_that_keeps_the_rest_is_chosen() -> None:
    known = _known(2, 4)
    a, b, c, d = (Clamp(0.1, n, 5) for n in (1, 2, 3, 4))
    shares = {
        a: np.array([1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1.0]),
        b: np.array([0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1, 1.0]),
        c: np.array([0, 1, 1, 1, 1, 1, 0, 1, 1, 0, 1, 1.0]),
        d: np.array([1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1.0]),
    }
    assert choose_clamp(shares, known, floor=0.99) == a
    assert choose_clamp(shares, known, floor=0.75) == b
    assert choose_clamp({b: shares[b]}, known, floor=0.99) is None
    answers = ClampedAnswers(shares, {})
    settings = dataclasses.replace(SETTINGS, side_effect_floor=0.99)
    found = {m.metric: m.value for m in unlearning_output(answers, known, settings).measurements if not m.at}
    assert found == {"unlearning_score": 0.0, "chosen_side_effect_accuracy": 1.0}
    settings = dataclasses.replace(SETTINGS, side_effect_floor=0.75)
    found = {m.metric: m.value for m in unlearning_output(answers, known, settings).measurements if not m.at}
    assert found == {"unlearning_score": 1.0, "chosen_side_effect_accuracy": 1.0}


def test_on_the_same_questions_the_score_is_sae_benchs() -> None:
    rng = np.random.default_rng(0)
    known = _known(30, 200, same=True)
    right = np.where(known.is_forget, 0.7, 0.99)
    grid = [Clamp(t, n, m) for t in (0.001, 0.01) for n in (10, 20) for m in (25, 50, 100)]
    shares = {clamp: (rng.random(230) < right).astype(float) for clamp in grid}
    settings = dataclasses.replace(SETTINGS, select_on="same_questions")
    output = unlearning_output(ClampedAnswers(shares, {}), known, settings)
    effects = [s[:30].mean() if s[30:].mean() >= 0.99 else 1.0 for s in shares.values()]
    assert output.measurements[0].value == pytest.approx(1 - min(effects))
    assert 0 < 1 - min(effects) < 1
    low, high = output.measurements[0].ci_low, output.measurements[0].ci_high
    assert low is not None and high is not None and low <= 1 - min(effects) <= high


def test_without_a_gentle_intervention_the_score_is_0() -> None:
    known = _known(40, 10)
    output = unlearning_output(ClampedAnswers({Clamp(0.1, 1, 5): np.zeros(100)}, {(0.1, 1): [3]}), known, SETTINGS)
    score = output.measurements[0]
    assert (score.value, score.ci_low) == (0.0, 0.0)
    assert score.ci_high == pytest.approx(0.0876, abs=1e-3)
    assert len(score.replicates) == 32
    assert output.unstructured["chosen"] is None
