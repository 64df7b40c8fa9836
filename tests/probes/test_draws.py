"""Keyed draws: balanced, repeatable, blind to order and company."""

from __future__ import annotations

import numpy as np
import pytest

from sae_research.probes.draws import draw_held_out, draw_negatives, keyed_generator

SIZES = {"a": 100, "b": 100, "c": 100, "d": 100}
KEY = ("probing", 0, "set", "train")


def test_as_many_negatives_as_positives() -> None:
    drawn = draw_negatives(SIZES, "a", key=KEY)
    assert sorted(drawn) == ["b", "c", "d"]
    assert sum(len(indices) for indices in drawn.values()) == 100
    for indices in drawn.values():
        assert len(indices) in {32, 33, 34}
        assert len(set(indices.tolist())) == len(indices)
        assert (np.diff(indices) > 0).all()
        assert indices.min() >= 0
        assert indices.max() < 100


def test_order_of_classes_is_nothing() -> None:
    turned = dict(reversed(SIZES.items()))
    a, b = draw_negatives(SIZES, "b", key=KEY), draw_negatives(turned, "b", key=KEY)
    assert {n: i.tolist() for n, i in a.items()} == {n: i.tolist() for n, i in b.items()}


def test_keys_part_the_draws() -> None:
    one = draw_negatives(SIZES, "a", key=KEY)["b"].tolist()
    assert one != draw_negatives(SIZES, "a", key=("probing", 1, "set", "train"))["b"].tolist()
    assert one != draw_negatives(SIZES, "c", key=KEY)["b"].tolist()
    assert keyed_generator("ab", "c").random() != keyed_generator("a", "bc").random()


def test_two_classes() -> None:
    drawn = draw_negatives({"yes": 10, "no": 10}, "yes", key=KEY)
    assert drawn["no"].tolist() == list(range(10))


def test_too_few_others() -> None:
    with pytest.raises(ValueError, match="class 'a' has 10 examples, all others together offer 4"):
        draw_negatives({"a": 10, "b": 2, "c": 2}, "a", key=KEY)


def test_held_out_share() -> None:
    held = draw_held_out(50, 0.2, key=KEY)
    assert held.sum() == 10
    assert (held == draw_held_out(50, 0.2, key=KEY)).all()
    assert draw_held_out(3, 0.1, key=KEY).sum() == 1
