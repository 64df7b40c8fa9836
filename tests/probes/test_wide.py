"""Full-width probes against the exact solver, and how their strength is chosen."""

from __future__ import annotations

import pytest
import torch

from sae_research.probes.lbfgs import minimise_columns
from sae_research.probes.logistic import fit_logistic
from sae_research.probes.wide import STRENGTHS, fit_wide, predict_wide


def _tasks(rows: int = 300, features: int = 20, tasks: int = 3, *, noise: float = 1.0) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows, features, generator=generator)
    scores = x @ torch.randn(features, tasks, generator=generator)
    positive = scores + noise * torch.randn(rows, tasks, generator=generator) > 0
    counts = torch.rand(rows, tasks, generator=generator) < 0.8
    held_out = torch.rand(rows, generator=generator) < 0.2
    return x, positive, counts, held_out


def test_columns_agree_with_newton() -> None:
    x, positive, counts, _ = _tasks()
    exact = fit_logistic(x.expand(3, -1, -1), positive.T, counts.T)
    solution = minimise_columns(x.double(), positive.double(), counts.double(), tolerance=1e-9)
    torch.testing.assert_close(solution.weights, exact.weights.T, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(solution.biases, exact.biases, rtol=1e-6, atol=1e-7)


def test_columns_that_do_not_converge_are_told(caplog: pytest.LogCaptureFixture) -> None:
    x, positive, counts, _ = (t.double() for t in _tasks())
    minimise_columns(x, positive, counts)
    assert caplog.messages == []
    minimise_columns(x, positive, counts, tolerance=0)
    [message] = caplog.messages
    assert message.startswith("L-BFGS: 3 of 3 probes did not converge in 200 steps; the gradient is down to ")


def test_any_start_leads_to_the_same_end() -> None:
    x, positive, counts, _ = (t.double() for t in _tasks())
    far = (torch.full((20, 3), 2.0, dtype=torch.float64), torch.full((3,), -3.0, dtype=torch.float64))
    a = minimise_columns(x, positive, counts, tolerance=1e-9)
    b = minimise_columns(x, positive, counts, far, tolerance=1e-9)
    torch.testing.assert_close(a.weights, b.weights, rtol=1e-6, atol=1e-7)


def test_one_strength_on_standardised_features() -> None:
    x, positive, counts, held_out = _tasks()
    x = x * torch.logspace(-3, 3, 20) + 1
    probes = fit_wide(x, positive, counts, held_out, strengths=(0.5,))
    scale, mean = torch.std_mean(x, dim=0, correction=0)
    exact = fit_logistic(((x - mean) / scale).expand(3, -1, -1), positive.T, counts.T, c=0.5)
    scores = (x - mean) / scale @ exact.weights.T.float() + exact.biases.float()
    torch.testing.assert_close(x @ probes.weights + probes.biases, scores, rtol=1e-2, atol=1e-2)


def test_held_out_rows_choose_the_strength() -> None:
    x, positive, counts, held_out = _tasks(rows=200, features=60, noise=5.0)
    scale, mean = torch.std_mean(x, dim=0, correction=0)
    scaled = ((x - mean) / scale).expand(3, -1, -1)
    losses = []
    for c in STRENGTHS:
        probes = fit_logistic(scaled, positive.T, (counts & ~held_out[:, None]).T, c=c)
        scores = torch.einsum("trf,tf->rt", scaled.double(), probes.weights) + probes.biases
        wrong = torch.nn.functional.softplus(torch.where(positive, -scores, scores))
        judged = counts & held_out[:, None]
        losses.append((wrong * judged).sum(0) / judged.sum(0))
    expected = torch.tensor(STRENGTHS)[torch.stack(losses).argmin(0)]
    assert fit_wide(x, positive, counts, held_out).strengths.tolist() == expected.tolist()
    assert fit_wide(*_tasks(rows=2000, features=5, noise=0.0)).strengths.tolist() == [pytest.approx(STRENGTHS[-1])] * 3


def test_rows_outside_a_task_do_not_matter() -> None:
    x, positive, counts, held_out = _tasks()
    flipped = positive ^ ~counts
    a, b = fit_wide(x, positive, counts, held_out), fit_wide(x, flipped, counts, held_out)
    torch.testing.assert_close(a.weights, b.weights)


def test_company_changes_nothing() -> None:
    x, positive, counts, held_out = _tasks()
    together = fit_wide(x.double(), positive, counts, held_out)
    alone = fit_wide(x.double(), positive[:, 1:2], counts[:, 1:2], held_out)
    torch.testing.assert_close(together.weights[:, 1:2], alone.weights, rtol=1e-6, atol=1e-9)


def test_separable_constant_and_dead_features() -> None:
    x, positive, counts, held_out = _tasks(rows=400, features=6, tasks=1, noise=0.0)
    x[:, 1], x[:, 2] = 0, 3
    positive = x[:, :1] > 0
    probes = fit_wide(x, positive, counts, held_out)
    assert probes.weights[1:3].abs().max() == 0
    assert (predict_wide(probes, x) == positive).float().mean() > 0.97


def test_nothing_to_go_by() -> None:
    x, positive, counts, held_out = _tasks()
    probes = fit_wide(torch.zeros_like(x), positive, counts, held_out)
    assert probes.weights.abs().max() == 0
    assert probes.biases.isfinite().all()
