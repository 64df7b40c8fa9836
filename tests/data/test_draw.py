"""Draws are keyed: the same anywhere, nested, and without regard to other draws."""

from __future__ import annotations

from collections import Counter

from sae_research.data.draw import draw, shares

TEXTS = [f"t{i}" for i in range(100)]


def test_the_same_everywhere() -> None:
    assert draw(TEXTS, 5, "embedded/bios", "nurse", "0", "train", 42) == ["t4", "t10", "t66", "t51", "t29"]


def test_without_replacement_and_nested() -> None:
    all_of_them = draw(TEXTS, 100, "a", 1)
    assert sorted(all_of_them) == sorted(TEXTS)
    assert all_of_them != TEXTS
    assert draw(TEXTS, 10, "a", 1) == all_of_them[:10]
    assert draw(["x", "x", "y"], 3, "a").count("x") == 2


def test_every_part_of_the_key_counts() -> None:
    keys = [("a", "b", 1), ("a", "b", 2), ("b", "a", 1), ("ab", "", 1), ("a", "b1")]
    assert len({tuple(draw(TEXTS, 10, *key)) for key in keys}) == len(keys)


def test_every_text_is_as_likely() -> None:
    counts = Counter(text for seed in range(1000) for text in draw(TEXTS, 10, "a", seed))
    assert len(counts) == 100
    assert 60 < min(counts.values()) <= max(counts.values()) < 145  # 100 expected, standard deviation 9.5


def test_shares_differ_by_one_at_most() -> None:
    assert shares(10, ["f", "m"]) == {"f": 5, "m": 5}
    assert shares(11, ["a", "b", "c"]) == {"a": 4, "b": 4, "c": 3}
    assert shares(1, ["a", "b"]) == {"a": 1, "b": 0}
