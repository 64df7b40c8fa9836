"""The probes that follow Adam's path, beside torch's own Adam and loss."""

from __future__ import annotations

import math

import pytest
import torch

from sae_research.evals.absorption.adam import Schedule, train_columns

N, WIDTH, COLUMNS = 50, 7, 4


@pytest.fixture
def data() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(N, WIDTH, generator=generator)
    return x, torch.rand(N, COLUMNS, generator=generator) < 0.3


@pytest.mark.parametrize(("l1", "batch_size"), [(0.0, 16), (0.05, 16), (0.05, 4096)])
def test_as_torch(data: tuple[torch.Tensor, torch.Tensor], l1: float, batch_size: int) -> None:
    x, positive = data
    schedule = Schedule(batch_size=batch_size, epochs=6, weight_decay=1e-2, l1=l1)
    probes = train_columns(x.__getitem__, positive, schedule, width=WIDTH, generator=torch.Generator().manual_seed(3))
    stream = torch.Generator().manual_seed(3)
    with torch.enable_grad():
        start = (2 * torch.rand(WIDTH + 1, COLUMNS, generator=stream) - 1) / WIDTH**0.5
        weights, bias = start[:-1].clone().requires_grad_(), start[-1].clone().requires_grad_()
        hits = positive.sum(dim=0)
        loss = torch.nn.BCEWithLogitsLoss(pos_weight=(N - hits) / hits)
        optimizer = torch.optim.Adam([weights, bias], lr=1e-2, weight_decay=1e-2)
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=math.exp(math.log(1e-3) / 6))
        for _ in range(6):
            for rows in torch.randperm(N, generator=stream).split(batch_size):
                optimizer.zero_grad()
                total = loss(x[rows] @ weights + bias, positive[rows].float()) + l1 * weights.abs().sum(dim=0).mean()
                total.backward()
                optimizer.step()
            scheduler.step()
    torch.testing.assert_close(probes.weights, weights.detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(probes.biases, bias.detach(), rtol=1e-4, atol=1e-5)


def test_separable_columns_are_separated() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(3).repeat(100)
    x = 3 * torch.eye(3)[labels] + 0.3 * torch.randn(300, 3, generator=generator)
    positive = labels[:, None] == torch.arange(3)
    probes = train_columns(x.__getitem__, positive, Schedule(8, 30, 0.0), width=3, generator=generator)
    assert bool(((x @ probes.weights + probes.biases > 0) == positive).all())


def test_a_column_without_positives_stays_finite(data: tuple[torch.Tensor, torch.Tensor]) -> None:
    x, positive = data
    positive[:, 2] = False
    probes = train_columns(
        x.__getitem__, positive, Schedule(16, 3, 0.0, 0.01), width=WIDTH, generator=torch.Generator()
    )
    assert bool(probes.weights.isfinite().all())
