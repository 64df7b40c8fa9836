from __future__ import annotations

from collections import Counter

import pytest

from sae_research.world.draw import Draw, zipf


def test_the_same_keys_give_the_same_draws_and_other_keys_others() -> None:
    one, same, other = Draw(1, "a"), Draw(1, "a"), Draw(1, "b")
    numbers = [one.below(10**6) for _ in range(5)]
    assert numbers == [same.below(10**6) for _ in range(5)]
    assert numbers != [other.below(10**6) for _ in range(5)]


def test_the_draws_are_those_of_every_machine() -> None:
    # Written down once: a change here changes every world.
    draw = Draw(0, "fixed")
    assert [draw.below(1000) for _ in range(5)] == [916, 289, 153, 521, 376]
    assert draw.shuffled("abcdef") == list("adbcfe")


def test_a_sample_has_no_item_twice_and_leaves_its_source_alone() -> None:
    items = list(range(20))
    sample = Draw(5).sample(items, 12)
    assert len(set(sample)) == 12
    assert items == list(range(20))


def test_between_reaches_both_ends() -> None:
    draw = Draw(2)
    assert {draw.between(3, 5) for _ in range(100)} == {3, 4, 5}


def test_weighted_draws_follow_the_weights() -> None:
    draw = Draw(9)
    counts = Counter(draw.weighted("abc", [8.0, 9.0, 10.0]) for _ in range(4000))
    assert counts["a"] / 4000 == pytest.approx(0.8, abs=0.03)
    assert set(counts) == set("abc")


def test_other_than_never_returns_the_excluded_item() -> None:
    draw = Draw(4)
    assert {draw.other_than((1, 2, 3), 2) for _ in range(60)} == {1, 3}


def test_zipf_sums_rise_by_ever_smaller_steps() -> None:
    sums = zipf(4)
    steps = [b - a for a, b in zip([0.0, *sums], sums, strict=False)]
    assert steps == pytest.approx([1 / 2, 1 / 3, 1 / 4, 1 / 5])
