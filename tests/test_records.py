from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pytest

from sae_research.errors import UserError
from sae_research.records import at_least, counts, distinct, read_record


@dataclass(frozen=True)
class Inner:
    k: int = 1

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k is {self.k}, expected at least 1")


@dataclass(frozen=True)
class Outer:
    name: str
    rate: float = 0.5
    kind: Literal["a", "b"] = "a"
    values: tuple[int, ...] = ()
    inner: Inner = field(default_factory=Inner)
    note: str | None = None
    colors: dict[str, str] = field(default_factory=dict)


def test_values_arrive_typed_and_nested() -> None:
    read = read_record(
        Outer,
        {"name": "x", "rate": 2, "values": [1, 2], "inner": {"k": 3}, "note": None, "colors": {"topk": "red"}},
        where="f",
    )
    assert read == Outer("x", 2.0, "a", (1, 2), Inner(3), None, {"topk": "red"})
    assert isinstance(read.rate, float)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"name": "x", "nmae": 1}, "f: unknown key 'nmae'; valid: name, rate, kind, values, inner, note, colors"),
        ({}, "f: missing name"),
        ({"name": 3}, "f.name: got 3 (int), expected str"),
        ({"name": "x", "rate": "1e-3"}, "f.rate: got '1e-3' (str), expected float"),
        ({"name": "x", "values": [1, True]}, "f.values[1]: got True (bool), expected int"),
        ({"name": "x", "values": 1}, "f.values: got 1 (int), expected a list"),
        ({"name": "x", "kind": "c"}, "f.kind: got 'c' (str); valid: a, b"),
        ({"name": "x", "inner": {"k": 0}}, "f.inner: k is 0, expected at least 1"),
        ({"name": "x", "inner": 1}, "f.inner: got 1 (int), expected a mapping with k"),
        ({"name": "x", "colors": []}, "f.colors: got [] (list), expected a mapping"),
        ([], "f: got [] (list), expected a mapping with name, rate, kind, values, inner, note, colors"),
    ],
)
def test_mistakes_are_named_with_what_is_valid(values: object, said: str) -> None:
    with pytest.raises(UserError) as caught:
        read_record(Outer, values, where="f")
    assert str(caught.value) == said


@dataclass(frozen=True)
class Grid:
    size: int = 3
    k_values: tuple[int, ...] = (1, 2)


def test_sizes_below_their_limit_are_named() -> None:
    at_least(Grid(), size=3)
    with pytest.raises(ValueError, match="size is 3, expected at least 4"):
        at_least(Grid(), size=4)


def test_lists_hold_something_and_nothing_twice() -> None:
    distinct(Grid(), "k_values")
    distinct(Grid(k_values=()), "k_values", may_be_empty=True)
    with pytest.raises(ValueError, match="k_values is empty, expected at least one"):
        distinct(Grid(k_values=()), "k_values")
    with pytest.raises(ValueError, match=r"k_values holds a value twice: \[1, 1\]"):
        distinct(Grid(k_values=(1, 1)), "k_values")


def test_counts_are_at_least_one() -> None:
    counts(Grid(), "k_values")
    counts(Grid(k_values=()), "k_values", may_be_empty=True)
    with pytest.raises(ValueError, match="k_values holds 0, expected at least 1"):
        counts(Grid(k_values=(0, 1)), "k_values")
