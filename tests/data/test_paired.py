"""Pairs of classes in quadrants: what is drawn, in which order, and what is said when a quadrant is too small."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sae_research.data.labelled import valid_names
from sae_research.data.paired import Quadrants, _crossed, load_pairs, require_crossed
from sae_research.errors import UserError

TRAIN, TEST = "data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"


@pytest.fixture
def load(shelf: Any, crossed: Callable[..., dict[str, list[Any]]]) -> Callable[..., Any]:
    def named(columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return {"hard_text": columns["text"], "profession": columns["first"], "gender": columns["second"]}

    shelf.put(
        "LabHC/bias_in_bios",
        {TRAIN: named(crossed(range(28), [1, 0], 20)), TEST: named(crossed(range(28), [1, 0], 9, "test "))},
    )

    def run(*, train: int = 4, test: int = 3, sampling: str = "keyed", seed: int = 0) -> Any:
        name = "LabHC/bias_in_bios_class_set1"
        return load_pairs(shelf.hub, name, train=train, test=test, seed=seed, sampling=sampling)  # type: ignore[arg-type]

    return run


def _numbers(texts: list[str], label: str) -> list[int]:
    """The numbers of texts that read label/number."""
    assert all(text.startswith(f"{label}/") for text in texts)
    return [int(text.rsplit("/", 1)[1]) for text in texts]


def test_sae_bench_takes_the_first_rows_of_each_quadrant(load: Callable[..., Any]) -> None:
    pairs = load(sampling="sae_bench")
    assert [paired.pair for paired in pairs] == [
        ("professor", "nurse"), ("architect", "journalist"), ("surgeon", "psychologist"), ("attorney", "teacher")
    ]  # fmt: skip
    first = pairs[0]
    for split, n, prefix in ((first.train, 4, ""), (first.test, 3, "test ")):
        assert _numbers(split.first_first, f"{prefix}21/0") == list(range(2 * n))
        assert _numbers(split.first_second, f"{prefix}21/1") == list(range(n))
        assert _numbers(split.second_first, f"{prefix}13/0") == list(range(n))
        assert _numbers(split.second_second, f"{prefix}13/1") == list(range(2 * n))


def test_keyed_draws_depend_on_their_key_alone(load: Callable[..., Any]) -> None:
    first, again, other = load()[0], load()[0], load(seed=1)[0]
    assert first == again
    assert first.train != other.train
    assert [len(texts) for texts in first.train] == [8, 4, 4, 8]
    assert [len(texts) for texts in first.test] == [3, 3, 3, 3]
    fewer = load(train=2)[0].train
    assert all(a == b[: len(a)] for a, b in zip(fewer, first.train, strict=True))
    assert isinstance(fewer, Quadrants) and fewer.n == 2


def test_a_quadrant_that_is_too_small_is_named(load: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match="train split: class 'professor' with '0' has 20 texts, needed 22"):
        load(train=11)


def test_names_are_those_of_labelled_sets() -> None:
    assert set(_crossed()) <= set(valid_names())
    with pytest.raises(UserError, match="'embedded/news' has no pairs of classes for SCR; valid: embedded/bios"):
        require_crossed("embedded/news")
