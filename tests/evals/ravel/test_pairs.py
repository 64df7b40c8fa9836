"""RAVEL's pairs: what they have in common, and what keeps training and test apart."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from support.ravel import SETTINGS

from sae_research.evals.ravel.pairs import draw_pairs
from sae_research.evals.ravel.prompts import Prompts


@pytest.mark.parametrize("split", ["entity", "sae_bench"])
def test_pairs_differ_in_value_and_keep_their_entities_apart(prompts: Prompts, split: Any) -> None:
    settings = dataclasses.replace(SETTINGS, split=split, num_pairs_per_attribute=20)
    drawn = draw_pairs(prompts, "Country", ["Language"], settings, ("key",))
    seen: dict[str, set[str]] = {"train": set(), "test": set()}
    for part, pairs in zip(("train", "test"), (drawn.train, drawn.test), strict=True):
        assert len(pairs)
        for base, source, is_cause in zip(
            pairs.base.tolist(), pairs.source.tolist(), pairs.is_cause.tolist(), strict=True
        ):
            a, b = prompts.items[base], prompts.items[source]
            assert a.attribute == b.attribute == ("Country" if is_cause else "Language")
            assert a.label != b.label
            seen[part] |= {a.entity, b.entity}
    if split == "entity":
        assert not seen["train"] & seen["test"]
        assert [len(p) for p in (drawn.train, drawn.test)] == [28, 12]
        assert [int(p.is_cause.sum()) for p in (drawn.train, drawn.test)] == [14, 6]
    else:
        assert [len(p) for p in (drawn.train, drawn.test)] == [28, 12]  # 40 pairs, whole batches of 4.
    again = draw_pairs(prompts, "Country", ["Language"], settings, ("key",))
    assert torch.equal(again.train.base, drawn.train.base) and torch.equal(again.test.source, drawn.test.source)
