"""Batched logistic regression against scikit-learn, and where it is hard."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from sae_research.probes.logistic import fit_logistic, predict


def _problems(n: int, rows: int, features: int, *, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, rows, features, generator=generator, dtype=torch.float64) * 2 + 1
    truth = torch.randn(n, features, generator=generator, dtype=torch.float64)
    noise = torch.randn(n, rows, generator=generator, dtype=torch.float64)
    return x, torch.einsum("prf,pf->pr", x - 1, truth) + noise > 0


def _by_sklearn(x: torch.Tensor, y: torch.Tensor, c: float = 1.0) -> tuple[np.ndarray, float]:
    probe = LogisticRegression(C=c, tol=1e-12, max_iter=100_000).fit(x.numpy(), y.numpy())
    return probe.coef_[0], float(probe.intercept_[0])


@pytest.mark.parametrize(("features", "c"), [(1, 1.0), (5, 1.0), (20, 0.1), (20, 10.0)])
def test_agrees_with_sklearn(features: int, c: float) -> None:
    x, y = _problems(4, 200, features)
    probes = fit_logistic(x, y, c=c)
    for i in range(4):
        weights, bias = _by_sklearn(x[i], y[i], c)
        np.testing.assert_allclose(probes.weights[i].numpy(), weights, rtol=1e-6, atol=1e-6)
        assert float(probes.biases[i]) == pytest.approx(bias, rel=1e-6, abs=1e-6)


def test_separable_rows() -> None:
    x = torch.linspace(-3, 3, 40, dtype=torch.float64)[None, :, None] * 100
    y = x[..., 0] > 0
    probes = fit_logistic(x, y)
    weights, bias = _by_sklearn(x[0], y[0])
    assert probes.weights[0].numpy() == pytest.approx(weights, rel=1e-5)
    assert float(probes.biases[0]) == pytest.approx(bias, abs=1e-5)
    assert bool((predict(probes, x) == y).all())


def test_constant_features_get_no_weight() -> None:
    x, y = _problems(1, 100, 3)
    x[..., 1] = 0
    x[..., 2] = 5
    probes = fit_logistic(x, y)
    alone = fit_logistic(x[..., :1], y)
    assert probes.weights[0].tolist() == pytest.approx([float(alone.weights[0, 0]), 0, 0], abs=1e-9)


def test_more_features_than_rows() -> None:
    x, y = _problems(2, 12, 50)
    probes = fit_logistic(x, y)
    for i in range(2):
        weights, bias = _by_sklearn(x[i], y[i])
        np.testing.assert_allclose(probes.weights[i].numpy(), weights, atol=1e-6)
        assert float(probes.biases[i]) == pytest.approx(bias, abs=1e-5)


def test_badly_scaled_features() -> None:
    x, y = _problems(1, 300, 3)
    x = x * torch.tensor([1e-4, 1.0, 1e4])
    probes = fit_logistic(x, y)
    x, y = x[0], y[0].double()
    scores = x @ probes.weights[0] + probes.biases[0]
    gradient = x.T @ (torch.sigmoid(scores) - y) + probes.weights[0]
    assert gradient.abs().max() < 1e-4
    assert abs(float((torch.sigmoid(scores) - y).sum())) < 1e-6


def test_rows_that_do_not_count() -> None:
    x, y = _problems(2, 60, 4)
    counts = torch.rand(2, 60, generator=torch.Generator().manual_seed(3)) < 0.7
    probes = fit_logistic(x, y, counts)
    for i in range(2):
        alone = fit_logistic(x[i : i + 1, counts[i]], y[i : i + 1, counts[i]])
        torch.testing.assert_close(probes.weights[i], alone.weights[0], rtol=1e-8, atol=1e-9)


def test_one_class_only_is_refused() -> None:
    x, y = _problems(2, 10, 2)
    y[1] = True
    with pytest.raises(ValueError, match="problem 1 has rows of one class only"):
        fit_logistic(x, y)


def test_company_changes_nothing() -> None:
    x, y = _problems(3, 80, 6)
    together, alone = fit_logistic(x, y), fit_logistic(x[1:2], y[1:2])
    torch.testing.assert_close(together.weights[1], alone.weights[0], rtol=1e-9, atol=1e-10)
