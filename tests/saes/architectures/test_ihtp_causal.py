"""Causal IHTP: each token's fit on what was chosen up to it, and nothing from the future."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from sae_research.saes.build import unit_atoms


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _reference(x: Tensor, atoms: Tensor, b_dec: Tensor, k: int) -> np.ndarray:
    """One sequence in float64: a support that grows by token, atoms that add nothing left out, a fit for each."""
    y, D = (x - b_dec).double().numpy(), atoms.double().numpy()
    support: list[int] = []
    tried: set[int] = set()
    codes = np.zeros((len(y), len(D)))
    for t, row in enumerate(np.abs(y @ D.T)):
        for j in sorted(np.argsort(-row, kind="stable")[:k]):
            before = D[support].T
            inside = before @ np.linalg.lstsq(before, D[j], rcond=None)[0] if support else 0 * D[j]
            if j not in tried and row[j] > 0 and np.linalg.norm(D[j] - inside) ** 2 > 1e-6:
                support.append(int(j))
            tried.add(int(j))
        if support:
            codes[t, support] = np.linalg.lstsq(D[support].T, y[t], rcond=None)[0]
    return codes


@pytest.mark.parametrize(
    ("d_in", "d_sae", "k", "tokens"), [(40, 64, 2, 7), (12, 40, 3, 9), (8, 40, 40, 1), (5, 3, 2, 4)]
)
def test_codes_are_those_of_a_plain_loop(d_in: int, d_sae: int, k: int, tokens: int, make_sae) -> None:
    sae = make_sae("ihtp_causal", d_in=d_in, d_sae=d_sae, k=k)
    x = _normal(4, tokens, d_in)
    mask = torch.rand(4, tokens, generator=torch.Generator().manual_seed(2)) > 0.2
    for sequence, real, found in zip(x, mask, sae.encode(x, mask), strict=True):
        expected = _reference(sequence[real], sae.W_dec, sae.b_dec, k)
        np.testing.assert_allclose(found[real].numpy(), expected, rtol=1e-3, atol=2e-4)


@pytest.mark.parametrize("nonneg", [False, True])
def test_the_future_changes_no_code(nonneg: bool, make_sae) -> None:
    x = _normal(2, 8, 24)
    changed = x.clone()
    changed[:, 5:] = 3 * _normal(2, 3, 24, seed=9)
    causal = make_sae("ihtp_causal", d_in=24, d_sae=64, k=2, nonneg=nonneg)
    before, after = causal.encode(x), causal.encode(changed)
    torch.testing.assert_close(after[:, :5], before[:, :5], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(after[:, 5:], before[:, 5:])
    whole = make_sae("ihtp", d_in=24, d_sae=64, k=2, nonneg=nonneg)
    assert not torch.allclose(whole.encode(x)[:, :5], whole.encode(changed)[:, :5], atol=1e-2)


def test_the_last_token_has_the_fit_of_the_whole_sequence(make_sae) -> None:
    x = _normal(3, 6, 48)
    causal, whole = (make_sae(name, d_in=48, d_sae=96, k=2) for name in ("ihtp_causal", "ihtp"))
    torch.testing.assert_close(causal.encode(x)[:, -1], whole.encode(x)[:, -1], rtol=1e-3, atol=1e-4)


def test_supports_only_grow_and_never_pass_d_in(make_sae) -> None:
    sae = make_sae("ihtp_causal", d_in=6, d_sae=64, k=3)
    active = sae.encode(_normal(2, 12, 6)) != 0
    assert (active[:, 1:] | ~active[:, :-1]).all()
    assert active.sum(-1).amax() == 6


def test_duplicate_atoms_are_used_once(make_sae) -> None:
    atoms = unit_atoms(_normal(10, 8))
    atoms[7] = atoms[2]
    sae = make_sae("ihtp_causal", W_dec=atoms, b_dec=torch.zeros(8), k=2)
    codes = sae.encode(3 * atoms[2].expand(1, 4, 8))
    torch.testing.assert_close(codes[0, :, [2, 7]], torch.tensor([[3.0, 0]]).expand(4, 2), rtol=1e-5, atol=1e-5)


def test_without_negative_codes(make_sae) -> None:
    sae = make_sae("ihtp_causal", d_in=24, d_sae=64, k=3, nonneg=True)
    codes = sae.encode(_normal(2, 7, 24))
    assert (codes >= 0).all() and codes.any()
