"""Answers of judges: what is read, and what is refused."""

from __future__ import annotations

import pytest

from sae_research.judges.replies import Unreadable, read_explanation, read_numbers, read_texts, spoken


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("1, 2, 14", {1, 2, 14}),
        (" 3.\n", {3}),
        ("1, 2 and 3", {1, 2, 3}),
        ("1, 2, and 3.", {1, 2, 3}),
        ("None.", set()),
        ("none", set()),
        ("<think>perhaps 4</think>\n5", {5}),
    ],
)
def test_numbers(text: str, numbers: set[int]) -> None:
    assert read_numbers(text, n=14) == numbers


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "<think>1</think>",
        "<think>1, 2",
        "texts 1 and 2",
        "1; 2",
        "15",
        "0",
        "-1",
        "1,,2",
        "1 2",
        "\u0661",
        "1" * 9,
    ],
)
def test_anything_else_is_no_list_of_numbers(text: str) -> None:
    with pytest.raises(Unreadable):
        read_numbers(text, n=14)


def test_an_explanation_is_one_line_without_its_opening() -> None:
    assert read_explanation("This unit activates on names of rivers.\nMore.") == "names of rivers"
    assert read_explanation("It Activates On x") == "x"
    assert read_explanation("rivers") == "rivers"
    with pytest.raises(Unreadable, match="empty"):
        read_explanation("This unit activates on .")


def test_texts_keep_their_inner_form() -> None:
    assert read_texts(" a\nb\n<S>\n\n<S>\n c", separator="<S>", n=2) == (" a\nb", " c")
    assert read_texts("a<S>b<S>c", separator="<S>", n=2) == ("a", "b")
    for text in ("a", "a<S>b<S>c<S>d<S>e", ""):
        with pytest.raises(Unreadable):
            read_texts(text, separator="<S>", n=2)


def test_a_long_answer_is_cut() -> None:
    assert len(spoken("x" * 10**6)) == 20_000
