from __future__ import annotations

import math

import pytest

from sae_research.results.numbers import json_text, rounded, shown, stable


def test_ten_significant_digits_are_kept_whatever_the_size() -> None:
    assert rounded(1 / 3) == 0.3333333333
    assert rounded(12345678912345.678) == 12345678910000.0
    assert rounded(1.23456789012e-30) == 1.23456789e-30


def test_negative_zero_is_written_as_zero() -> None:
    assert math.copysign(1, rounded(-0.0)) == 1


def test_rounding_twice_changes_nothing() -> None:
    for value in (math.pi, 1e-7 / 3, 2 / 3 * 1e12):
        assert rounded(rounded(value)) == rounded(value)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_none_is_refused_with_its_place(bad: float) -> None:
    with pytest.raises(ValueError, match=r"a\.b\[1\] is"):
        stable({"a": {"b": [1.0, bad]}})


def test_objects_that_are_not_json_are_refused() -> None:
    with pytest.raises(TypeError, match="x is a set"):
        stable({"x": {1, 2}})


def test_the_order_of_keys_does_not_reach_the_text() -> None:
    assert json_text({"a": 1, "b": 0.1 + 0.2}) == json_text({"b": 0.3, "a": 1}) == '{\n  "a": 1,\n  "b": 0.3\n}\n'


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (8.0, "8"), (0.88316, "0.8832"), (128.44, "128.4"), (16384.0, "16,384"), (3.4e-4, "0.0003400"),
     (2.5e-7, "2.50e-07"), (-0.187, "-0.1870")],
)  # fmt: skip
def test_numbers_for_people_have_four_digits(value: float, text: str) -> None:
    assert shown(value) == text
