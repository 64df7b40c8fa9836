"""Simultaneous hard thresholding pursuit: one budget per sequence, mended over rounds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from sae_research.errors import UserError


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _reference(x: Tensor, atoms: Tensor, b_dec: Tensor, s: int, iters: int, mu: float) -> np.ndarray:
    """One sequence in float64."""
    y, D = (x - b_dec).double().numpy(), atoms.double().numpy()
    W, support = np.zeros((len(y), len(D))), None
    for _ in range(iters):
        norms = np.linalg.norm(W + mu * (y - W @ D) @ D.T, axis=0)
        chosen = sorted(j for j in np.argsort(-norms, kind="stable")[:s] if norms[j] > 0)
        if chosen == support:
            break
        support, W = chosen, np.zeros_like(W)
        W[:, support] = np.linalg.lstsq(D[support].T, y.T, rcond=1e-6)[0].T
    return W


@pytest.mark.parametrize("mu", [1.0, 0.4])
@pytest.mark.parametrize(
    ("d_in", "d_sae", "s", "tokens", "iters"), [(24, 64, 5, 7, 10), (24, 40, 9, 1, 1), (9, 5, 4, 3, 6)]
)
def test_codes_are_those_of_a_plain_loop(
    d_in: int, d_sae: int, s: int, tokens: int, iters: int, mu: float, make_sae
) -> None:
    sae = make_sae("shtp", d_in=d_in, d_sae=d_sae, s=s, iters=iters, mu=mu)
    x = _normal(4, tokens, d_in)
    for sequence, found in zip(x, sae.encode(x), strict=True):
        expected = _reference(sequence, sae.W_dec, sae.b_dec, s, iters, mu)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-3, atol=1e-4)


def test_a_planted_joint_support_is_found(make_sae) -> None:
    generator, found = torch.Generator().manual_seed(3), {"once": 0, "iterated": 0}
    once, iterated = (make_sae("shtp", d_in=128, d_sae=512, b_dec=torch.zeros(128), s=48, iters=i) for i in (1, 10))
    for _ in range(10):
        atoms = torch.randperm(512, generator=generator)[:48]
        x = (torch.randn(16, 48, generator=generator) @ once.W_dec[atoms])[None]
        for name, sae in (("once", once), ("iterated", iterated)):
            found[name] += set(sae.encode(x)[0].any(0).nonzero().flatten().tolist()) == set(atoms.tolist())
    assert found["iterated"] == 10 > found["once"]


def test_the_support_has_s_atoms_however_long_the_sequence(make_sae) -> None:
    sae = make_sae("shtp", d_in=24, d_sae=64, s=6)
    for tokens in (1, 3, 20):
        support = sae.encode(_normal(2, tokens, 24)).any(dim=1).sum(-1)
        assert support.tolist() == [6, 6]


def test_without_negative_codes(make_sae) -> None:
    sae = make_sae("shtp", d_in=24, d_sae=64, s=8, nonneg=True)
    x = _normal(2, 5, 24)
    codes = sae.encode(x)
    assert (codes >= 0).all() and codes.any()
    slope = (x - sae.decode(codes)) @ sae.W_dec.T
    support = codes.any(dim=1, keepdim=True).expand_as(codes)
    assert slope[support & (codes > 0)].abs().max() < 1e-3
    assert slope[support].max() < 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"s": 0}, "s is 0"),
        ({"s": 17}, "s is 17, but d_sae is 16"),
        ({"iters": 0}, "iters is 0"),
        ({"mu": 0.0}, r"mu is 0\.0, expected more than 0"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, float], message: str, make_sae) -> None:
    with pytest.raises(UserError, match=message):
        make_sae("shtp", **options)
