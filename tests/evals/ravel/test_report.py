"""RAVEL's scores by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sae_research.evals.ravel.pairs import Pairs
from sae_research.evals.ravel.prompts import Prompts
from sae_research.evals.ravel.report import ClassHits, class_scores
from sae_research.evals.ravel.training import SwapHits


def _hits(prompts: Prompts, pairs: Pairs, hits: list[bool]) -> ClassHits:
    return ClassHits(
        prompts, len(prompts.items), {0: {"Country": SwapHits(pairs, {"": np.array(hits)}, n_swapped=3, n_steps=0)}}
    )


def test_scores_by_hand(prompts: Prompts) -> None:
    """Cause 2 of 3, isolation 1 of 2."""
    pairs = Pairs(torch.tensor([0, 4, 8, 2, 6]), torch.tensor([4, 8, 0, 6, 2]), torch.tensor([1, 1, 1, 0, 0]).bool())
    scores = class_scores(_hits(prompts, pairs, [True, True, False, True, False]), "")["Country"]
    scores = {name: number.mean for name, number in scores.items()}
    assert scores["cause_score"].value == pytest.approx(2 / 3)
    assert scores["isolation_score"].value == pytest.approx(1 / 2)
    assert scores["disentanglement_score"].value == pytest.approx((2 / 3 + 1 / 2) / 2)
    # Left out in turn: city 0 (cause 1/2, isolation 0/1), city 1 (1/2, 1/1), city 2 (2/2, 1/2).
    assert scores["disentanglement_score"].replicates == pytest.approx((0.25, 0.75, 0.75))
    assert class_scores(_hits(prompts, Pairs(*(t[:3] for t in (pairs.base, pairs.source, pairs.is_cause))),
                              [True] * 3), "") == {}  # fmt: skip
