"""Muon beside torch's own, which computes in bfloat16, and beside a singular value decomposition."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from sae_research.world.muon import Muon, orthogonalised


@pytest.mark.parametrize("shape", [(24, 8), (8, 24), (16, 16)])
def test_three_steps_as_torch_takes_them(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(shape, generator=generator)
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    muon = Muon([ours], lr=0.02, weight_decay=0.1)
    reference = torch.optim.Muon([theirs], lr=0.02, weight_decay=0.1)
    with ThreadPoolExecutor(1) as pool:
        for rate in (0.5, 1.0, 0.25):
            gradient = torch.randn(shape, generator=generator)
            ours.grad, theirs.grad = gradient, gradient.clone()
            reference.param_groups[0]["lr"] = 0.02 * rate
            muon.step(rate, pool)
            reference.step()
    error, moved = (ours - theirs).detach().norm(), (theirs - start).detach().norm()
    assert float(error / moved) < 0.02


def test_orthogonalised_keeps_directions_and_evens_out_singular_values() -> None:
    matrix = torch.randn(6, 10, generator=torch.Generator().manual_seed(1))
    u, _, vt = torch.linalg.svd(matrix, full_matrices=False)
    core = u.T @ orthogonalised(matrix) @ vt.T
    assert torch.allclose(core, torch.diag(core.diagonal()), atol=1e-4)
    assert bool(((core.diagonal() > 0.6) & (core.diagonal() < 1.3)).all())
