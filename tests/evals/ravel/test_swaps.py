"""Swaps by hand, and the axes they swap on."""

from __future__ import annotations

import numpy as np
import torch

from sae_research.evals.ravel.swaps import (
    HARD,
    Axes,
    Latents,
    MaskMode,
    MaskSwap,
    RotationSwap,
    WholeSwap,
    padded_rows,
    principal_axes,
    random_rotation,
)
from sae_research.saes.codes import sparse_codes


def test_mask_swaps_by_hand() -> None:
    codes = torch.tensor([[1.0, 0.0, -2.0], [0.0, 3.0, 5.0]])
    directions = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    x_hat = codes @ directions + 10
    swap = MaskSwap(Latents(sparse_codes(codes), x_hat, x_hat + 0.5, directions))
    swap.mask = torch.tensor([1.0, -1.0, 2.0])
    base, source = torch.tensor([0]), torch.tensor([1])
    # Latents 0 and 2 come from the source, signs and all: 0 d0 + 0 d1 + 5 d2 + 10.
    assert swap.mixed(base, source, [HARD])[0].tolist() == [[15.0, 15.0]]
    assert swap.mixed(base, source, [MaskMode(with_error=True)])[0].tolist() == [[15.5, 15.5]]
    assert swap.n_swapped == 2
    shares = torch.sigmoid(torch.tensor([0.5, -0.5, 1.0]))
    mixed = (1 - shares) * codes[0] + shares * codes[1]
    torch.testing.assert_close(swap.mixed(base, source, [MaskMode(2.0)])[0][0], mixed @ directions + 10)


def test_padded_rows_keep_every_code() -> None:
    codes = torch.tensor([[0.0, -1.0, 0.0, 2.0], [0.0, 0.0, 0.0, 0.0], [3.0, 0.0, 0.0, 0.0]])
    latents, values = padded_rows(sparse_codes(codes))
    assert latents.shape == (3, 2)
    assert torch.equal(torch.zeros(3, 4).scatter_add_(1, latents, values), codes)
    assert padded_rows(sparse_codes(torch.zeros(2, 3)))[1].tolist() == [[0.0], [0.0]]


def test_all_or_nothing_on_axes_is_the_source_or_the_base() -> None:
    torch.manual_seed(0)
    x = torch.randn(6, 5)
    base, source = torch.tensor([0, 1]), torch.tensor([2, 3])
    for axes in (torch.eye(5), principal_axes(x), random_rotation(5, ("r",))):
        torch.testing.assert_close(axes @ axes.T, torch.eye(5), atol=1e-5, rtol=0)
        swap = MaskSwap(Axes(x, axes))
        torch.testing.assert_close(swap.mixed(base, source, [HARD])[0], x[base])
        swap.mask = torch.ones(5)
        torch.testing.assert_close(swap.mixed(base, source, [HARD])[0], x[source], atol=1e-5, rtol=0)
    assert torch.equal(WholeSwap(x, of_source=True).mixed(base, source, [HARD])[0], x[source])
    assert torch.equal(WholeSwap(x, of_source=False).mixed(base, source, [HARD])[0], x[base])


def test_principal_axes_are_scikit_learns() -> None:
    from sklearn.decomposition import PCA

    x = torch.randn(40, 5, generator=torch.Generator().manual_seed(0)) * torch.arange(1, 6)
    expected = np.abs(np.asarray(PCA().fit(x.numpy()).components_))
    np.testing.assert_allclose(principal_axes(x).abs().numpy(), expected, atol=1e-4)


def test_rotations_stay_orthogonal_whatever_is_learnt() -> None:
    x, start = torch.randn(6, 5), random_rotation(5, ("r",))
    swap = RotationSwap(x, start, None)
    torch.testing.assert_close(swap.axes.detach(), start)
    with torch.no_grad():
        swap.skew.copy_(torch.randn(5, 5))
    torch.testing.assert_close(swap.axes @ swap.axes.T, torch.eye(5), atol=1e-5, rtol=0)
    whole = RotationSwap(x, start, 5).mixed(torch.tensor([0]), torch.tensor([1]), [HARD])[0]
    torch.testing.assert_close(whole.detach(), x[1:2], atol=1e-5, rtol=0)
    assert RotationSwap(x, start, 2).cause_only and not swap.cause_only
