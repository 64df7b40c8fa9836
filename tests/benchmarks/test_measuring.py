"""Times of parts, and the error where what is to be timed is no longer called."""

from __future__ import annotations

import re

import pytest

from benchmarks.measuring import Inside
from sae_research.errors import UserError


class Code:
    """What a benchmark looks into."""

    @staticmethod
    def read(*, fast: bool = False) -> str:
        return "fast" if fast else "slow"

    @staticmethod
    def old() -> None:
        raise AssertionError("never called")


def test_calls_are_timed_by_label_while_the_block_runs() -> None:
    inside = Inside()
    with inside.watching((Code, "read", lambda *, fast=False: "quick" if fast else "careful")):
        assert Code.read() == "slow"
        assert Code.read(fast=True) == "fast"
    assert Code.read() == "slow"
    inside.require(["quick", "careful"])
    assert set(inside.seconds) == {"quick", "careful"}


def test_a_function_that_is_no_longer_called_is_named() -> None:
    inside = Inside()
    with inside.watching((Code, "read", "read"), (Code, "old", "absorb")):
        Code.read()
    with pytest.raises(UserError, match=r"never called: Code\.old, part 'absorb'\. If the code no longer goes"):
        inside.require(["read", "absorb"])


def test_a_part_that_never_ran_is_named() -> None:
    inside = Inside()
    with inside.watching((Code, "read", lambda **_: "careful")):
        Code.read()
    with pytest.raises(UserError, match=re.escape("never called: part 'quick'.")):
        inside.require(["quick", "careful"])


def test_one_call_in_several_blocks_is_enough() -> None:
    """SAEBench computes some things for the first SAE only."""
    inside = Inside()
    for n_calls in (1, 0):
        with inside.watching((Code, "read", "read")):
            for _ in range(n_calls):
                Code.read()
    inside.require(["read"])
