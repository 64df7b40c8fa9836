"""Per-token IHTP: k atoms and a fit for each token alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import nnls
from torch import Tensor


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("nonneg", [False, True])
@pytest.mark.parametrize(("d_in", "d_sae", "k"), [(24, 64, 5), (6, 20, 9), (5, 3, 3)])
def test_codes_are_those_of_a_plain_loop(d_in: int, d_sae: int, k: int, nonneg: bool, make_sae) -> None:
    sae = make_sae("ihtp_token", d_in=d_in, d_sae=d_sae, k=k, nonneg=nonneg)
    x = _normal(3, 4, d_in)
    D = sae.W_dec.double().numpy()
    for own, found in zip((x - sae.b_dec).reshape(-1, d_in), sae.encode(x).reshape(-1, d_sae), strict=True):
        y = own.double().numpy()
        sizes = D @ y if nonneg else np.abs(D @ y)
        support = [j for j in np.argsort(-sizes, kind="stable")[:k] if sizes[j] > 0]
        assert not np.delete(found.numpy(), support).any()
        if not support:
            continue
        fit = nnls(D[support].T, y)[0] if nonneg else np.linalg.lstsq(D[support].T, y, rcond=1e-6)[0]
        np.testing.assert_allclose(found.numpy()[support] @ D[support], fit @ D[support], rtol=1e-3, atol=1e-3)
        if len(support) < d_in and not nonneg:
            np.testing.assert_allclose(found.numpy()[support], fit, rtol=1e-3, atol=1e-3)


def test_a_token_does_not_depend_on_its_sequence(make_sae) -> None:
    sae, x = make_sae("ihtp_token", d_in=24, d_sae=64, k=4), _normal(2, 6, 24)
    changed = x.clone()
    changed[:, 5] = 5.0
    torch.testing.assert_close(sae.encode(changed)[:, :5], sae.encode(x)[:, :5], rtol=1e-5, atol=1e-6)
    assert sae.scope == "token"
    assert ((sae.encode(x) != 0).sum(-1) == 4).all()
