"""Rows of made-up SAEs."""

from __future__ import annotations

from typing import Any

import pytest
from support.rows import make_row

from sae_research.results.rows import Row


def make_fleet() -> list[Row]:
    """SAEs of four architectures under core and probing; one interpolates, one failed its core cell."""
    rows: list[Row] = []
    for index, (architecture, l0) in enumerate(
        [("topk", 8.0), ("topk", 32.0), ("topk", 16.0), ("jumprelu", 12.0), ("ihtp", 40.0), ("ihtp", 90.0)]
    ):
        about: dict[str, Any] = {"architecture": architecture, "l0": l0, "interpolates": 1.0 if l0 == 90 else 0.0}
        name, score = f"sae{index}", 0.7 + l0 / 400
        rows.append(make_row(name, "ce_loss_score", score, ci_low=score - 0.01, ci_high=score + 0.01, **about))
        rows.append(make_row(name, "ce_loss_increase", 1 - score, direction="lower", unit="nats", **about))
        rows.append(make_row(name, "mse", 30 - l0 / 5, direction="lower", unit="squared activation", **about))
        rows += _probing(name, score, about)
    rows.append(make_row("lost", "ce_loss_score", None, metric=None, column=None, headline=False, reason="x", l0=None))
    rows += _probing("lost", 0.7, {"architecture": "topk", "l0": None, "interpolates": None})
    return rows


def _probing(name: str, score: float, about: dict[str, Any]) -> list[Row]:
    rows = [make_row(name, "llm_test_accuracy", 0.97, eval="sparse_probing", headline=False, **about)]
    for k in (1, 2, 10):
        place = {"at": f'{{"k": {k}}}', "eval": "sparse_probing", **about}
        rows.append(make_row(name, "sae_top_k_test_accuracy", score + k / 100, **place))
        level = make_row(name, "llm_top_k_test_accuracy", 0.6 + k / 50, **{**place, "headline": False})
        rows.append(level)
    return rows


@pytest.fixture
def fleet() -> list[Row]:
    return make_fleet()


@pytest.fixture
def row() -> Any:
    return make_row
