"""Counts of codes, and the frequencies made of them, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sae_research.evals.core.codes import CodeCounts, count_codes
from sae_research.evals.core.formulas import estimate_densities
from sae_research.saes.codes import sparse_codes
from sae_research.saes.encoding import Reconstruction

CODES = torch.tensor([[[1.0, 0.0, -2.0], [3.0, 0.0, 0.0]], [[0.0, 0.0, 0.0], [0.0, 0.0, -1.0]]])


def _count(codes: torch.Tensor, *, real: torch.Tensor | None = None, sparse: bool = False) -> CodeCounts:
    real = torch.ones(codes.shape[:2], dtype=torch.bool) if real is None else real
    raw = sparse_codes(codes[real]) if sparse else codes
    return count_codes(Reconstruction(slice(len(codes)), real, torch.empty(0), raw), d_sae=codes.shape[2])


def test_counts_by_hand() -> None:
    counts = _count(CODES)
    assert {n: c.tolist() for n, c in counts.columns.items()} == {
        "l0": [3, 1],
        "l1": [6, 1],
        "signed": [2, -1],
        "negative": [1, 1],
        "support": [2, 1],
    }
    assert counts.fired.tolist() == [[2, 0, 1], [0, 0, 1]]
    assert counts.positive.tolist() == [[2, 0, 0], [0, 0, 0]]


def test_nothing_fires() -> None:
    counts = _count(torch.zeros(2, 3, 4))
    assert counts.fired.sum() == 0
    assert counts.columns["l0"].tolist() == [0, 0]


def test_sparse_and_dense_codes_give_the_same_counts() -> None:
    real = torch.tensor([[True, True], [False, True]])
    dense, sparse = _count(CODES.abs(), real=real), _count(CODES.abs(), real=real, sparse=True)
    assert torch.equal(dense.fired, sparse.fired)
    assert torch.equal(dense.positive, sparse.positive)
    for name, column in dense.columns.items():
        assert column.tolist() == sparse.columns[name].tolist(), name


def test_densities_by_hand() -> None:
    estimates = estimate_densities(np.array([[0, 1, 30, 4], [0, 0, 30, 0]]), np.array([100, 100]))
    assert estimates["frac_alive"].value == 0.75
    assert estimates["frac_dead"].value == 0.25
    assert estimates["freq_over_1_percent"].value == 0.5
    assert estimates["freq_over_10_percent"].value == 0.25
    assert estimates["normalized_freq_over_1_percent"].value == pytest.approx(64 / 65)
    assert estimates["normalized_freq_over_10_percent"].value == pytest.approx(60 / 65)
