"""The numbers of autointerp: by hand, and against a plain jackknife."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import t

from sae_research.evals.autointerp.eval import AUTOINTERP
from sae_research.evals.autointerp.latents import JudgedLatent
from sae_research.evals.autointerp.report import autointerp_output
from sae_research.evals.autointerp.settings import AutointerpSettings
from sae_research.evals.judged.gate import Fitness
from sae_research.evals.judged.quiz import Quiz
from sae_research.evals.judged.settings import JudgeReading
from sae_research.measurements import EvalOutput, LatentNote, Measurement

SETTINGS = AutointerpSettings(dataset="embedded/text", reading=JudgeReading("embedded/text"))
FIT = Fitness((Measurement("judge_gold_score", 0.98),), None)
KINDS = ("top",) * 2 + ("weighted",) * 2 + ("silent",) * 10
QUIZ = Quiz(tuple(f"window {i}" for i in range(14)), KINDS, (1, 2))  # type: ignore[arg-type]


def _latent(number: int, predicted: set[int] | None, control: set[int] | None, **more: Any) -> JudgedLatent:
    return JudgedLatent(
        **{
            "latent": number,
            "place": number,
            "density": 0.005,
            "largest": 2.0,
            "sign": 1,
            "quiz": QUIZ,
            "explanation": f'the word "w{number}"',
            "predicted": None if predicted is None else frozenset(predicted),
            "control": None if control is None else frozenset(control),
            **more,
        }
    )


def _output(latents: list[JudgedLatent], fitness: Fitness = FIT, passed_over: Any = ()) -> EvalOutput:
    return autointerp_output(latents, passed_over, fitness, SETTINGS, {})


def _value(output: EvalOutput, metric: str, **at: Any) -> Measurement:
    [one] = [m for m in output.measurements if m.metric == metric and dict(m.at) == at]
    return one


def test_three_latents_by_hand() -> None:
    """Right in 14, 10 and 11 of 14 windows; with another explanation in 10, 10 and 9."""
    output = _output(
        [
            _latent(0, {1, 2, 3, 4}, set(), density=5e-5),
            _latent(1, set(), {1, 5}, density=0.02, sign=-1),
            _latent(2, {1, 2, 3, 5, 6}, {5}, density=0.03),
        ]
    )
    scores = [14 / 14, 10 / 14, 11 / 14]
    mean = sum(scores) / 3
    assert _value(output, "autointerp_score").value == pytest.approx(mean)
    deviation = math.sqrt(sum((s - mean) ** 2 for s in scores) / 2)
    assert _value(output, "autointerp_std_dev").value == pytest.approx(deviation)
    balanced = [1, 0.5, (3 / 4 + 8 / 10) / 2]
    assert _value(output, "autointerp_balanced_accuracy").value == pytest.approx(sum(balanced) / 3)
    assert _value(output, "autointerp_true_positive_rate", windows="top").value == pytest.approx(2 / 3)
    assert _value(output, "autointerp_true_positive_rate", windows="weighted").value == pytest.approx(1.5 / 3)
    assert _value(output, "autointerp_true_negative_rate").value == pytest.approx((1 + 1 + 0.8) / 3)
    assert _value(output, "autointerp_random_explanation_score").value == pytest.approx(29 / 14 / 3)
    assert _value(output, "autointerp_gain").value == pytest.approx(6 / 14 / 3)
    assert _value(output, "autointerp_none_score").value == pytest.approx(10 / 14)
    assert _value(output, "autointerp_by_density", density_below=1e-4).value == 1
    assert _value(output, "autointerp_by_density", density_below=0.1).value == pytest.approx(sum(balanced[1:]) / 2)
    assert _value(output, "autointerp_latents", density_below=0.1).value == 2
    assert _value(output, "autointerp_latents").value == 3
    assert _value(output, "autointerp_negative_share").value == pytest.approx(1 / 3)
    assert _value(output, "judge_gold_score").value == 0.98
    # Delete one: the standard error of a mean of three is its deviation over the root of three.
    gain = _value(output, "autointerp_gain")
    half = float(t.ppf(0.975, 2)) * float(np.std([4 / 14, 0, 2 / 14], ddof=1)) / math.sqrt(3)
    assert gain.ci_high == pytest.approx(min(1, float(gain.value or 0) + half))


def test_intervals_are_a_jackknife_over_latents_dealt_by_their_place() -> None:
    rng = np.random.default_rng(0)
    places = rng.permutation(500)[:100]
    latents = [
        _latent(int(place), set((rng.permutation(14)[:4] + 1).tolist()), set((rng.permutation(14)[:3] + 1).tolist()))
        for place in places
    ]
    gains = np.array([one.right.score - one.control_right.score for one in latents])  # type: ignore[union-attr]
    without = np.array([gains[places % 32 != group].mean() for group in range(32)])
    error = math.sqrt(31 / 32 * float(((without - without.mean()) ** 2).sum()))
    gain = _value(_output(latents), "autointerp_gain")
    assert gain.value == pytest.approx(gains.mean())
    assert gain.replicates == pytest.approx(without)
    assert gain.ci_low == pytest.approx(gains.mean() - float(t.ppf(0.975, 31)) * error)
    assert error == pytest.approx(gains.std(ddof=1) / 10, rel=0.3)


def test_an_unfit_judge_gives_no_score() -> None:
    unfit = Fitness((Measurement("judge_gold_score", 0.7),), "judge_gold_score is 0.700, below min_judge_gold = 0.9")
    output = _output([_latent(i, None, None, explanation=None, reason=unfit.unfit) for i in range(30)], unfit)
    missing = [m for m in output.measurements if m.value is None]
    assert len(missing) == 8 and all("0.700" in str(m.reason) for m in missing)
    assert _value(output, "judge_gold_score").value == 0.7
    assert output.unstructured["3"]["score"] is None and "0.700" in output.unstructured["3"]["reason"]


def test_too_many_answers_that_cannot_be_read_leave_no_score() -> None:
    readable = [_latent(i, {1, 2, 3, 4}, set()) for i in range(18)]
    unreadable = [_latent(18 + i, None, None, reason="no predictions: the answer is empty") for i in range(3)]
    assert _value(_output(readable + unreadable[:2]), "autointerp_score").value == 1
    output = _output(readable + unreadable)
    assert "3 of 21 latents" in str(_value(output, "autointerp_score").reason)
    assert _value(output, "autointerp_unreadable_share").value == pytest.approx(3 / 21)


def test_a_gain_needs_another_explanation() -> None:
    output = _output([_latent(0, {1, 2}, None)])
    assert _value(output, "autointerp_score").value == pytest.approx(12 / 14)
    assert "there is no other explanation" in str(_value(output, "autointerp_gain").reason)
    assert "two latents" in str(_value(output, "autointerp_std_dev").reason)


def test_without_any_latent_the_reason_is_the_first_latent_s() -> None:
    passed_over = [JudgedLatent(7, 0, 0.0, 0.0, 1, reason="3 firings, needed more than 15")]
    output = _output([], passed_over=passed_over)
    assert "3 firings" in str(_value(output, "autointerp_gain").reason)
    assert output.unstructured["7"]["reason"] == "3 firings, needed more than 15"


def test_notes_are_the_explanations_with_their_scores() -> None:
    unreadable = _latent(1, None, None, reason="no predictions: the answer is empty")
    passed_over = [JudgedLatent(7, 0, 0.0, 0.0, 1, reason="3 firings, needed more than 15")]
    output = _output([_latent(0, {1, 2, 3, 4}, set()), unreadable], passed_over=passed_over)
    one, other = AUTOINTERP.notes(output)
    row = output.unstructured["0"]
    assert one == LatentNote(0, "explanation", 'the word "w0"', 1.0, row["score_low"], 1.0)
    assert (other.latent, other.value, other.reason) == (1, None, "no predictions: the answer is empty")


def test_rows_have_sae_bench_s_keys_and_the_ends_of_the_interval() -> None:
    row = _output([_latent(5, {1, 2, 3, 4}, {2})]).unstructured["5"]
    assert {"latent", "explanation", "predictions", "correct seqs", "score"} <= set(row)
    assert row["predictions"] == row["correct seqs"] == [1, 2, 3, 4]
    # Wilson: 14 of 14 right.
    assert (row["score"], row["score_high"]) == (1, 1)
    assert row["score_low"] == pytest.approx(0.785, abs=5e-4)
