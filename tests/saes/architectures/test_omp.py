"""Orthogonal matching pursuit against a plain loop in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from sae_research.errors import UserError
from sae_research.saes.build import unit_atoms


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _reference(x: Tensor, atoms: Tensor, b_dec: Tensor, s: int) -> np.ndarray:
    y, D = (x - b_dec).double().numpy(), atoms.double().numpy()
    support: list[int] = []
    codes, rest = np.zeros(len(D)), y
    for _ in range(s):
        sizes = np.abs(D @ rest)
        sizes[support] = -1
        support.append(int(np.argmax(sizes)))
        fit = np.linalg.lstsq(D[support].T, y, rcond=None)[0]
        rest = y - fit @ D[support]
    codes[support] = fit
    return codes


@pytest.mark.parametrize(("d_in", "d_sae", "s"), [(24, 64, 6), (30, 20, 15), (6, 40, 5)])
def test_codes_are_those_of_a_plain_loop(d_in: int, d_sae: int, s: int, make_sae) -> None:
    sae, x = make_sae("omp", d_in=d_in, d_sae=d_sae, s=s), _normal(3, 5, d_in)
    for token, found in zip(x.reshape(15, -1), sae.encode(x).reshape(15, -1), strict=True):
        np.testing.assert_allclose(found.numpy(), _reference(token, sae.W_dec, sae.b_dec, s), rtol=1e-3, atol=2e-4)


def test_the_residual_is_orthogonal_to_all_atoms_taken(make_sae) -> None:
    sae, x = make_sae("omp", d_in=48, d_sae=96, s=12), _normal(20, 48)
    codes = sae.encode(x)
    slopes = (x - sae.decode(codes)) @ sae.W_dec.T
    assert slopes[codes != 0].abs().max() < 1e-5 * x.norm(dim=-1).max()
    assert ((codes != 0).sum(-1) == 12).all()


@pytest.mark.parametrize(("planted", "least"), [(8, 38), (16, 25)])
def test_planted_sparse_codes_are_found(planted: int, least: int, make_sae) -> None:
    generator, hits = torch.Generator().manual_seed(7), {"omp": 0, "mpsae": 0}
    saes = {name: make_sae(name, d_in=128, d_sae=512, b_dec=torch.zeros(128), s=planted) for name in hits}
    for _ in range(40):
        atoms = torch.randperm(512, generator=generator)[:planted]
        x = torch.randn(planted, generator=generator) @ saes["omp"].W_dec[atoms]
        for name, sae in saes.items():
            hits[name] += set(sae.encode(x).nonzero().flatten().tolist()) <= set(atoms.tolist())
    assert hits["omp"] >= least
    assert hits["omp"] >= hits["mpsae"]


def test_it_stops_when_nothing_is_left(make_sae) -> None:
    atoms = torch.linalg.qr(_normal(12, 12)).Q[:8]
    true = torch.zeros(5, 8)
    true[:, [1, 4, 6]] = _normal(5, 3)
    codes = make_sae("omp", W_dec=atoms, b_dec=torch.zeros(12), s=8).encode(true @ atoms)
    torch.testing.assert_close(codes, true, rtol=1e-4, atol=1e-5)
    assert not codes[:, [0, 2, 3, 5, 7]].any()


def test_more_steps_than_dimensions_reconstruct_exactly(make_sae) -> None:
    sae, x = make_sae("omp", d_in=6, d_sae=40, s=30), _normal(9, 6)
    codes = sae.encode(x)
    assert ((codes != 0).sum(-1) <= 6).all()
    torch.testing.assert_close(sae.decode(codes), x, rtol=1e-3, atol=1e-3)


def test_duplicate_and_dead_atoms(make_sae) -> None:
    atoms = unit_atoms(_normal(10, 8))
    atoms[7], atoms[0] = atoms[2], 0
    sae = make_sae("omp", W_dec=atoms, b_dec=torch.zeros(8), s=8)
    codes = sae.encode(torch.cat([3 * atoms[2:3], _normal(5, 8)]))
    assert codes[0].nonzero().flatten().tolist() in ([2], [7])
    assert not codes[:, 0].any()
    assert not (codes[:, 2].bool() & codes[:, 7].bool()).any()


def test_no_steps_are_refused(make_sae) -> None:
    with pytest.raises(UserError, match="s is 0, expected at least 1"):
        make_sae("omp", s=0)
