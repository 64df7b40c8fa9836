"""Quizzes: what they show and how answers are marked, by hand; and whose explanation serves as control."""

from __future__ import annotations

import pytest

from sae_research.evals.judged.controls import others
from sae_research.evals.judged.quiz import Quiz, make_quiz

TOP, WEIGHTED, SILENT = ["t1", "t2"], ["w1", "w2"], [f"s{i}" for i in range(10)]


def _quiz() -> Quiz:
    """Windows 1 to 14 in the order of their kinds."""
    kinds = ("top",) * 2 + ("weighted",) * 2 + ("silent",) * 10
    return Quiz((*TOP, *WEIGHTED, *SILENT), kinds, (1, 2))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("predicted", "score", "balanced"),
    [
        ({1, 2, 3, 4}, 1, 1),
        (set(), 10 / 14, 0.5),
        (set(range(1, 15)), 4 / 14, 0.5),
        ({1, 2, 3, 5}, 12 / 14, (3 / 4 + 9 / 10) / 2),
    ],
)
def test_answers_are_marked_by_kind(predicted: set[int], score: float, balanced: float) -> None:
    right = _quiz().mark(frozenset(predicted))
    assert right.score == pytest.approx(score)
    assert right.balanced_accuracy == pytest.approx(balanced)
    assert right.none_score == pytest.approx(10 / 14)


def test_kinds_have_their_own_counts() -> None:
    right = _quiz().mark(frozenset({1, 3, 4, 14}))
    assert (right.top, right.weighted, right.silent) == ((1, 2), (2, 2), (9, 10))
    assert _quiz().active == [1, 2, 3, 4]


def test_the_order_of_windows_does_not_tell_which_are_active() -> None:
    """The same texts with other labels stand in the same order, and the label stays with its text."""
    texts = [*TOP, *WEIGHTED, *SILENT]
    one = make_quiz(TOP, WEIGHTED, SILENT, seed=0)
    other = make_quiz(texts[-2:], texts[4:6], texts[:4] + texts[6:-2], seed=0)
    assert one.texts == other.texts and one.sample == other.sample
    assert {one.texts[n - 1] for n in one.active} == {*TOP, *WEIGHTED}
    assert {other.texts[n - 1] for n in other.active} == {*texts[-2:], *texts[4:6]}
    assert make_quiz(TOP, WEIGHTED, SILENT, seed=1).texts != one.texts
    assert make_quiz(TOP[::-1], WEIGHTED, SILENT[::-1], seed=0) == one


def test_places_and_sample_answers_are_drawn_evenly() -> None:
    quizzes = [make_quiz([f"{i}a", f"{i}b"], [f"{i}c", f"{i}d"], [f"{i}{s}" for s in SILENT], seed=0)
               for i in range(400)]  # fmt: skip
    lengths = [len(quiz.sample) for quiz in quizzes]
    assert [sum(length == n for length in lengths) for n in range(2, 7)] == pytest.approx([80] * 5, abs=35)
    assert set(lengths) == {2, 3, 4, 5, 6}
    active = [number for quiz in quizzes for number in quiz.active]
    assert [active.count(n) for n in range(1, 15)] == pytest.approx([1600 / 14] * 14, abs=45)
    assert all(list(quiz.sample) == sorted(set(quiz.sample)) for quiz in quizzes)


@pytest.mark.parametrize(
    ("values", "indices"),
    [
        ("abc", [1, 2, 0]),
        ("aab", [2, 2, 0]),
        ("abab", [1, 2, 3, 0]),
        ("aa", [None, None]),
        ("a", [None]),
        ("", []),
    ],
)
def test_a_control_is_another_value(values: str, indices: list[int | None]) -> None:
    assert others(list(values)) == indices
