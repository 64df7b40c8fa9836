from __future__ import annotations

from typing import Any

import pytest

from sae_research.engine.cells import Cell, differences
from sae_research.engine.explain import why_missing
from sae_research.engine.store import PastCell

PARTS: dict[str, Any] = {
    "sae": "d1", "code": "c1", "seed": 42, "settings": {"n_batches": 200, "k_values": [1]}, "model": {"name": "lm"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, []),
        ({"seed": 43}, ["seed 42 -> 43"]),
        ({"settings": {"n_batches": 400, "k_values": [1]}}, ["settings.n_batches 200 -> 400"]),
        ({"settings": {"n_batches": 200, "k_values": [1, 2]}}, ["settings.k_values [1] -> [1, 2]"]),
        ({"code": "c2"}, ["changed code"]),
        ({"code": "c2", "sae": "d2"}, ["changed code", "changed SAE"]),
    ],
)
def test_differences_in_words(change: dict[str, Any], said: list[str]) -> None:
    assert differences(PARTS, PARTS | change) == said


def _cell(**change: Any) -> Cell:
    return Cell(sae={"name": "topk"}, eval_name="core", key="k", parts=PARTS | change)


@pytest.mark.parametrize(
    ("past", "said"),
    [
        ([], "never computed"),
        ([PastCell("sparse_probing", "topk", PARTS)], "never computed"),
        ([PastCell("core", "relu", PARTS | {"sae": "other"})], "new SAE"),
        ([PastCell("core", "topk", PARTS | {"sae": "other"})], "changed SAE"),
        (
            [PastCell("core", "topk", PARTS | {"seed": 1, "code": "x"}), PastCell("core", "b", PARTS | {"seed": 2})],
            "seed 2 -> 42",
        ),
        ([PastCell("core", "topk", PARTS)], "its result is damaged"),
    ],
)
def test_why_a_cell_is_missing_is_told_from_the_nearest_stored_one(past: list[PastCell], said: str) -> None:
    assert why_missing(_cell(), past) == said
