"""When an answer is right: by hand, and as SAEBench judges it."""

from __future__ import annotations

import warnings
from itertools import product

import pytest

from sae_research.evals.ravel.completions import settled, states_value


@pytest.mark.parametrize(
    ("prompt", "value", "completion", "right"),
    [
        ("The city of X is in", "France", " France and", True),
        ("The city of X is in", "France", " Fra", True),
        ("The city of X is in", "France", ' France" is', True),
        ("The city of X is in", "France", ' "France" is', False),
        ("The city of X is in", "France", " Spain", False),
        ("The city of X is in", "France", " ", False),
        ("The city of X is in", "", " France", False),
        ("the latitude of X is", "48.85", " 47", True),
        ("the latitude of X is", "48.85", " 51", False),
        ("X is in", "United States", " the United States of", True),
        ("X is in", "North America", " America", True),
        ("the language of X", "French,English", " English", True),
        ("UTC offset of X", "Asia/Tokyo", "+09:00", True),
        ("UTC offset of X", "Nowhere/Atall", "+09:00", False),
    ],
)
def test_by_hand(prompt: str, value: str, completion: str, right: bool) -> None:
    assert states_value(prompt, value, completion) is right


@pytest.mark.parametrize(
    ("value", "beginning", "expected"),
    [
        ("France", " Fr", None), ("France", " Fran", None), ("France", " France", True), ("France", " Spa", False),
        ("France", " ", None), ("France", " F\ufffd", None), ("United States", " the", None), ("Mandarin", " Ch", None),
    ],
)  # fmt: skip
def test_settled(value: str, beginning: str, expected: bool | None) -> None:
    assert settled("The city of X is in", value, beginning) is expected


def test_what_is_settled_stays_so() -> None:
    for prompt, value, beginning, rest in product(
        ("X is in", "the language of X", "latitude", "UTC"), ("France", "Fr,En", "Asia/Tokyo", "12", "F", ""),
        (" F", "Fr", " France", '"', " X", "12", "", 'Fr"'), (" rance", "ance", '" and', ", En", ""),
    ):  # fmt: skip
        early = settled(prompt, value, beginning)
        assert early is None or early == states_value(prompt, value, beginning + rest), (prompt, value, beginning, rest)


def test_as_sae_bench() -> None:
    """On all combinations; zones without summer time, for SAEBench's offsets are those of today."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sae_bench.evals.ravel.validation import evaluate_completion
    prompts = ("The city of X is in", "the coordinates of X", "the language of X", "timezone UTC", "latitude")
    values = (
        "France", "United States", "the United Kingdom", "South Korea", "North America", "Mandarin Chinese",
        "French,English", "Asia/Kolkata", "Asia/Tokyo", "America/Bogota", "48.85", "-12", "Male", "", "bogus/zone",
    )  # fmt: skip
    completions = (
        " France and", "Fr", "", '"France"', "the United States of", "England", "Korea", "south Korea is", "na",
        "America", "chinese", "mandarin", "english, ", "+1:00", "-5", "-05:00", "-4:00", "+05:30", "+09", "48.2",
        "12°", "51", "+13", "-19", "he", "+2:00", "UTC", "USA",
    )  # fmt: skip
    for case in product(prompts, values, completions):
        assert states_value(*case) == bool(evaluate_completion(*case)), case
