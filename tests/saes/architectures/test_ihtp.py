"""IHTP against a plain loop over sequences in float64, and where its definition is delicate."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sae_research.saes.architectures import ihtp
from sae_research.saes.build import unit_atoms
from sae_research.saes.pursuit import sequences
from sae_research.saes.solvers.least_squares import least_squares


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _reference(x: Tensor, atoms: Tensor, b_dec: Tensor, k: int) -> np.ndarray:
    """One sequence: support by sorting, then numpy's least squares (minimum norm), all in float64."""
    y, D = (x - b_dec).double().numpy(), atoms.double().numpy()
    chosen: set[int] = set()
    for row in np.abs(y @ D.T):
        chosen |= {j for j in np.argsort(-row, kind="stable")[:k] if row[j] > 0}
    support = sorted(chosen)
    codes = np.zeros((len(y), len(D)))
    if support:
        # The noise level of atoms known to float32, as in the seed's torch.linalg.lstsq.
        rcond = float(np.finfo(np.float32).eps) * max(len(support), D.shape[1])
        codes[:, support] = np.linalg.lstsq(D[support].T, y.T, rcond=rcond)[0].T
    return codes


@pytest.mark.parametrize(
    ("d_in", "d_sae", "k", "tokens"), [(24, 64, 2, 7), (8, 40, 3, 9), (8, 40, 40, 1), (5, 3, 2, 4)]
)
def test_codes_are_those_of_a_plain_loop(d_in: int, d_sae: int, k: int, tokens: int, make_sae) -> None:
    sae = make_sae("ihtp", d_in=d_in, d_sae=d_sae, k=k)
    x = _normal(6, tokens, d_in)
    mask = torch.rand(6, tokens, generator=torch.Generator().manual_seed(2)) > 0.2
    codes = sae.encode(x, mask)
    for sequence, real, found in zip(x, mask, codes, strict=True):
        expected = _reference(sequence[real], sae.W_dec, sae.b_dec, k)
        np.testing.assert_allclose(found[real].numpy(), expected, rtol=1e-3, atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(1, 6), st.integers(1, 7), st.integers(1, 9), st.data())
def test_shapes_of_every_kind(batch: int, tokens: int, d_in: int, d_sae: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, d_sae))
    real = torch.tensor(data.draw(st.lists(st.booleans(), min_size=batch * tokens, max_size=batch * tokens)))
    mask = real.reshape(batch, tokens)
    sae = _sae(unit_atoms(_normal(d_sae, d_in, seed=3)), k)
    x = _normal(batch, tokens, d_in, seed=4)
    codes = sae.encode(x, mask)
    assert codes.shape == (batch, tokens, d_sae)
    assert not codes[~mask].any()
    for sequence, used, found in zip(x, mask, codes, strict=True):
        expected = _reference(sequence[used], sae.W_dec, sae.b_dec, k)
        fitted, best = found[used].double().numpy() @ sae.W_dec.double().numpy(), expected @ sae.W_dec.double().numpy()
        np.testing.assert_allclose(fitted, best, rtol=1e-3, atol=1e-3)


def _sae(atoms: Tensor, k: int) -> ihtp.IhtpSae:
    from sae_research.lm.site import Site
    from sae_research.saes.base import SaeCard

    card = SaeCard("t", "ihtp", Site(0, "resid_post"), atoms.shape[1], atoms.shape[0], "m", {"k": k})
    return ihtp.IhtpSae(card, {"W_dec": atoms, "b_dec": torch.full((atoms.shape[1],), 0.3)})


def test_orthonormal_atoms_give_the_exact_coefficients(make_sae) -> None:
    atoms = torch.linalg.qr(_normal(12, 12)).Q[:8]
    true = torch.zeros(2, 5, 8)
    true[0, :, [1, 6]], true[1, :, [2, 3]] = _normal(5, 2), _normal(5, 2, seed=5)
    sae = make_sae("ihtp", W_dec=atoms, b_dec=torch.zeros(12), k=2)
    torch.testing.assert_close(sae.encode(true @ atoms), true, rtol=1e-4, atol=1e-5)


def test_a_planted_support_is_found(make_sae) -> None:
    sae = make_sae("ihtp", d_in=512, d_sae=600, k=2)
    atoms = torch.tensor([3, 17, 90])
    weights = torch.tensor([[2.0, -1, 0], [0, 1, 3], [-2, 0, 1], [1.5, 2, 0]])
    x = (weights @ sae.W_dec[atoms] + sae.b_dec).unsqueeze(0)
    codes = sae.encode(x)[0]
    assert set(codes.any(0).nonzero().flatten().tolist()) == {3, 17, 90}
    torch.testing.assert_close(codes[:, atoms], weights, rtol=1e-4, atol=1e-4)


def test_the_residual_is_orthogonal_to_the_support(make_sae) -> None:
    sae, x = make_sae("ihtp", d_in=48, d_sae=96, k=2), _normal(3, 8, 48)
    codes = sae.encode(x)
    residual = x - sae.decode(codes)
    for rest, code in zip(residual, codes, strict=True):
        support = code.any(0)
        assert (rest @ sae.W_dec[support].T).abs().max() < 1e-4 * x.norm()


def test_a_support_of_d_in_atoms_reconstructs_anything(make_sae) -> None:
    sae = make_sae("ihtp", d_in=6, d_sae=32, k=3)
    x = _normal(2, 16, 6)
    codes = sae.encode(x)
    assert (codes.any(dim=1).sum(-1) >= 6).all()
    torch.testing.assert_close(sae.decode(codes), x, rtol=1e-3, atol=1e-3)


def test_duplicate_atoms_share_the_coefficient(make_sae) -> None:
    atoms = unit_atoms(_normal(10, 8))
    atoms[7] = atoms[2]
    sae = make_sae("ihtp", W_dec=atoms, b_dec=torch.zeros(8), k=2)
    codes = sae.encode(3 * atoms[2].expand(1, 4, 8))
    torch.testing.assert_close(codes[0, :, [2, 7]], torch.full((4, 2), 1.5), rtol=1e-4, atol=1e-4)
    only = make_sae("ihtp", W_dec=atoms, b_dec=torch.zeros(8), k=1).encode(3 * atoms[2].expand(1, 4, 8))
    assert only.any(1)[0].nonzero().flatten().tolist() in ([2], [7])


def test_opposite_and_dependent_atoms_are_fitted_with_least_norm(make_sae) -> None:
    base = unit_atoms(_normal(4, 12))
    atoms = torch.cat([base, -base[:2], unit_atoms((base[0] + base[1]).unsqueeze(0))])
    sae = make_sae("ihtp", W_dec=atoms, b_dec=torch.zeros(12), k=7)
    x = _normal(1, 5, 12)
    expected = _reference(x[0], atoms, torch.zeros(12), 7)
    np.testing.assert_allclose(sae.encode(x)[0].numpy(), expected, rtol=1e-3, atol=1e-4)


def test_dead_atoms_and_tokens_at_the_bias_stay_out(make_sae) -> None:
    atoms = unit_atoms(_normal(9, 6))
    atoms[3] = 0
    sae = make_sae("ihtp", W_dec=atoms, k=9)
    assert not sae.encode(_normal(2, 4, 6))[..., 3].any()
    assert not sae.encode(sae.b_dec.expand(2, 4, 6)).any()


def test_a_token_depends_on_its_sequence_but_not_on_others(make_sae) -> None:
    sae, x = make_sae("ihtp", d_in=24, d_sae=64, k=1), _normal(2, 6, 24)
    changed = x.clone()
    changed[0, 5] = 5 * _normal(24, seed=9)
    before, after = sae.encode(x), sae.encode(changed)
    assert not torch.allclose(before[0, 0], after[0, 0])
    torch.testing.assert_close(before[1], after[1])
    assert sae.scope == "sequence"


def test_chunks_change_no_code(make_sae, monkeypatch: pytest.MonkeyPatch) -> None:
    sae, x = make_sae("ihtp", d_in=24, d_sae=64, k=2), _normal(7, 6, 24)
    whole = sae.encode(x)
    monkeypatch.setattr(sequences, "_THREAD_BUDGET", 1)
    torch.testing.assert_close(sae.encode(x), whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("d_in", [4, 30])
def test_least_squares_of_mixed_ranks_and_sizes(d_in: int) -> None:
    atoms, y = _normal(4, 9, d_in), _normal(4, 3, d_in, seed=1)
    sizes = torch.tensor([9, 5, 9, 0])
    atoms[1, 5:], atoms[3] = 0, 0
    atoms[2, 6] = atoms[2, 1]
    found = least_squares(y, atoms, sizes)
    for i in range(3):
        expected = np.linalg.lstsq(atoms[i].double().numpy().T, y[i].double().numpy().T, rcond=1e-6)[0].T
        np.testing.assert_allclose(found[i].numpy(), expected, rtol=1e-3, atol=1e-4)
    assert not found[3].any()


def test_without_negative_codes_it_is_non_negative_least_squares(make_sae) -> None:
    from scipy.optimize import nnls

    sae, x = make_sae("ihtp", d_in=24, d_sae=64, k=3, nonneg=True), _normal(2, 5, 24)
    D = sae.W_dec.double().numpy()
    for sequence, found in zip(x, sae.encode(x), strict=True):
        y = (sequence - sae.b_dec).double().numpy()
        support = sorted({int(j) for row in y @ D.T for j in np.argsort(-row)[:3] if row[j] > 0})
        assert set(found.any(0).nonzero().flatten().tolist()) <= set(support)
        for own, values in zip(y, found.numpy(), strict=True):
            best, _ = nnls(D[support].T, own)
            np.testing.assert_allclose(values @ D, best @ D[support], atol=2e-3)


def test_supports_of_very_different_sizes_keep_to_their_sequences(make_sae) -> None:
    sae, x = make_sae("ihtp", d_in=48, d_sae=200, k=5), _normal(6, 12, 48)
    mask = torch.arange(12).expand(6, 12) < torch.tensor([12, 1, 0, 6, 11, 1])[:, None]
    together = sae.encode(x, mask)
    for i in range(6):
        torch.testing.assert_close(together[i : i + 1], sae.encode(x[i : i + 1], mask[i : i + 1]), rtol=1e-4, atol=1e-4)
        assert (together[i] != 0).any() == mask[i].any()
