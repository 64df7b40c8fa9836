"""The chosen intervention and the score, by hand and by SAEBench's formula."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from support.questions import SETTINGS

from sae_research.evals.unlearning.grid import Clamp
from sae_research.evals.unlearning.questions import Question
from sae_research.evals.unlearning.report import ClampedAnswers, QuestionSet, choose_clamp, unlearning_output
from sae_research.metrics.accuracies import mean_share


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
    answers = ClampedAnswers(shares, {(0.1, n): [7] for n in (1, 2, 3, 4)})
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
    latents = {(t, n): [1] for t in (0.001, 0.01) for n in (10, 20)}
    output = unlearning_output(ClampedAnswers(shares, latents), known, settings)
    effects = [s[:30].mean() if s[30:].mean() >= 0.99 else 1.0 for s in shares.values()]
    assert output.measurements[0].value == pytest.approx(1 - min(effects))
    assert 0 < 1 - min(effects) < 1
    low, high = output.measurements[0].ci_low, output.measurements[0].ci_high
    assert low is not None and high is not None and low <= 1 - min(effects) <= high


def test_without_a_gentle_intervention_the_score_is_0_by_definition() -> None:
    """The questions have no part in it: there is nothing to be unsure of."""
    known = _known(40, 10)
    output = unlearning_output(ClampedAnswers({Clamp(0.1, 1, 5): np.zeros(100)}, {(0.1, 1): [3]}), known, SETTINGS)
    score = output.measurements[0]
    assert (score.value, score.ci_low, score.replicates) == (0.0, None, ())
    assert output.unstructured["chosen"] is None


def test_interventions_that_clamp_nothing_do_not_stand_in_for_those_that_do() -> None:
    """The first clamps no latent and so harms nothing; the other one is not gentle."""
    known = _known(2, 4)
    shares = {Clamp(0.2, 2, 2): np.ones(12), Clamp(0.9, 2, 2): np.zeros(12)}
    output = unlearning_output(ClampedAnswers(shares, {(0.2, 2): [], (0.9, 2): [5]}), known, SETTINGS)
    assert output.unstructured["chosen"] is None
    nothing = unlearning_output(ClampedAnswers(shares, {(0.2, 2): [], (0.9, 2): []}), known, SETTINGS)
    for m in nothing.measurements[:2]:
        assert m.value is None
        assert "no latent fires on the forget corpus and on less than 0.9 of the retain tokens" in str(m.reason)


def test_questions_about_one_entity_are_one_unit() -> None:
    """Two questions each about three poisons; clamping works on the poison, so both stay right or neither does."""
    is_forget = np.array([True] * 6)
    questions = [Question("poison", f"q{i}", ("a", "b"), 0, entity=f"e{i // 2}") for i in range(6)]
    known = QuestionSet(questions, is_forget, ~is_forget, is_forget)
    shares = np.array([1, 1, 0, 0, 1, 1.0])
    assert known.accuracy(shares, forget=True) == mean_share(np.array([1, 0, 1.0]))
    alone = QuestionSet([q._replace(entity=None) for q in questions], is_forget, ~is_forget, is_forget)
    assert known.accuracy(shares, forget=True).low < alone.accuracy(shares, forget=True).low  # type: ignore[operator]
