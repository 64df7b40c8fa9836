"""Probes on the first k features for several k at a time, against one fit for each k."""

from __future__ import annotations

import pytest
import torch

from sae_research.probes import nested
from sae_research.probes.logistic import fit_logistic, predict


@pytest.mark.parametrize("elements", [1, 700, 10**6], ids=["one by one", "in groups", "all at once"])
def test_as_one_by_one(elements: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nested, "_ON_CPU", elements)
    generator = torch.Generator().manual_seed(0)
    x, test = (torch.randn(3, rows, 6, generator=generator).relu() for rows in (50, 40))
    positive = x[..., 2] + torch.rand(3, 50, generator=generator) > 1
    weights = torch.rand(3, 50, generator=generator).double()
    for of_rows in (None, weights):
        predicted = nested.predict_nested(x, positive, test, [1, 4, 5, 6], of_rows)
        for k, of_k in zip((1, 4, 5, 6), predicted, strict=True):
            alone = predict(fit_logistic(x[..., :k], positive, of_rows), test[..., :k])
            assert torch.equal(of_k, alone)
            assert 0 < int(of_k.sum()) < of_k.numel()
