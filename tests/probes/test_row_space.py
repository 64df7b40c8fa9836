"""What is fitted in the space of the rows is what is fitted on the features."""

from __future__ import annotations

import pytest
import torch

from sae_research.probes import wide
from sae_research.probes.row_space import row_space


def test_products_and_lengths_are_those_of_the_features() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 300, generator=generator)
    x -= x.mean(dim=0)
    x[7] = x[8]
    space = row_space(x)
    assert space is not None
    z = space.rows.T @ torch.randn(40, 3, generator=generator)
    weights = space.lift(z)
    torch.testing.assert_close(space.rows @ space.rows.T, x @ x.T, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(x @ weights, space.rows @ z, rtol=1e-3, atol=1e-2)
    torch.testing.assert_close(weights.norm(dim=0), z.norm(dim=0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(40, 60), (3000, 7000)])
def test_where_it_would_not_pay_there_is_none(shape: tuple[int, int]) -> None:
    assert row_space(torch.zeros(shape)) is None


def test_the_probes_are_those_fitted_on_the_features(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(120) % 3
    x = torch.relu(torch.randn(120, 400, generator=generator) + 0.3 * labels[:, None])
    positive = torch.stack([labels == c for c in range(3)], dim=1)
    counts, held_out = torch.ones(120, 3, dtype=torch.bool), torch.arange(120) % 5 == 0
    probes = wide.fit_wide(x, positive, counts, held_out)
    monkeypatch.setattr(wide, "row_space", lambda x: None)
    expected = wide.fit_wide(x, positive, counts, held_out)
    assert probes.strengths.tolist() == expected.strengths.tolist()
    torch.testing.assert_close(probes.weights, expected.weights, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(probes.biases, expected.biases, rtol=1e-3, atol=1e-4)
