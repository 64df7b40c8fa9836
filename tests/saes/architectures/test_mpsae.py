"""Matching pursuit against a plain loop over tokens that keeps the residual, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sae_research.lm.site import Site
from sae_research.saes.architectures import mpsae
from sae_research.saes.base import SaeCard
from sae_research.saes.build import unit_atoms


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _reference(x: Tensor, atoms: Tensor, b_dec: Tensor, steps: int) -> tuple[np.ndarray, list[np.ndarray], list[int]]:
    """Codes of one token, its residual after every step, and the atoms in the order they were taken."""
    D, rest = atoms.double().numpy(), (x - b_dec).double().numpy()
    codes, residuals, taken = np.zeros(len(D)), [rest.copy()], []
    for _ in range(steps):
        correlations = D @ rest
        j = int(np.argmax(np.abs(correlations)))
        codes[j] += correlations[j]
        rest = rest - correlations[j] * D[j]
        residuals.append(rest.copy())
        taken.append(j)
    return codes, residuals, taken


@pytest.fixture(params=["gram", "residual"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to the correlations: by the Gram matrix, and by the residual where that would be too large."""
    if request.param == "residual":
        monkeypatch.setattr(mpsae, "_GRAM_BUDGET", 0)
    return request.param


@pytest.mark.parametrize(("d_in", "d_sae", "s"), [(24, 64, 6), (6, 20, 15), (5, 3, 7)])
def test_codes_are_those_of_a_plain_loop(d_in: int, d_sae: int, s: int, form: str, make_sae) -> None:
    sae, x = make_sae("mpsae", d_in=d_in, d_sae=d_sae, s=s), _normal(3, 5, d_in)
    codes = sae.encode(x).reshape(15, -1)
    for token, found in zip(x.reshape(15, -1), codes, strict=True):
        expected, _, _ = _reference(token, sae.W_dec, sae.b_dec, s)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-3, atol=1e-4)


def test_the_residual_obeys_the_laws_of_pursuit(form: str, make_sae) -> None:
    x = _normal(24)
    sae = make_sae("mpsae", d_in=24, d_sae=64, s=1)
    _, _, taken = _reference(x, sae.W_dec, sae.b_dec, 8)
    before = (x - sae.b_dec).double()
    codes_before = torch.zeros(64)
    for steps in range(1, 9):
        at = make_sae("mpsae", d_in=24, d_sae=64, s=steps)
        codes = at.encode(x)
        rest = (x - at.decode(codes)).double()
        step = float((codes - codes_before).norm())
        last = at.W_dec[taken[steps - 1]].double()
        assert abs(float(rest @ last)) < 1e-5
        assert float(rest.norm() ** 2) == pytest.approx(float(before.norm() ** 2) - step**2, rel=1e-4, abs=1e-5)
        assert rest.norm() <= before.norm()
        before, codes_before = rest, codes


def test_orthonormal_atoms_give_the_exact_coefficients(form: str, make_sae) -> None:
    atoms = torch.linalg.qr(_normal(12, 12)).Q[:8]
    true = torch.zeros(5, 8)
    true[:, [1, 4, 6]] = _normal(5, 3)
    sae = make_sae("mpsae", W_dec=atoms, b_dec=torch.zeros(12), s=3)
    torch.testing.assert_close(sae.encode(true @ atoms), true, rtol=1e-4, atol=1e-5)


def test_planted_sparse_codes_are_found(make_sae) -> None:
    sae = make_sae("mpsae", d_in=128, d_sae=512, b_dec=torch.zeros(128), s=8)
    generator = torch.Generator().manual_seed(7)
    hits = 0
    for _ in range(40):
        atoms = torch.randperm(512, generator=generator)[:8]
        signs = torch.randint(0, 2, (8,), generator=generator) * 2.0 - 1
        weights = signs * (1 + torch.rand(8, generator=generator))
        largest = sae.encode(weights @ sae.W_dec[atoms]).abs().topk(8).indices
        hits += set(largest.tolist()) == set(atoms.tolist())
    assert hits >= 32


def test_of_equal_correlations_the_lowest_atom_is_taken(form: str, make_sae) -> None:
    atoms = torch.eye(4)[[0, 1, 1, 2]]
    sae = make_sae("mpsae", W_dec=atoms, b_dec=torch.zeros(4), s=2)
    codes = sae.encode(torch.tensor([[0.0, 3, 0, 0], [0, 2, -2, 0]]))
    assert codes.tolist() == [[0, 3, 0, 0], [0, 2, 0, -2]]


def test_an_atom_taken_again_adds_up(form: str, make_sae) -> None:
    atoms = unit_atoms(torch.tensor([[1.0, 0], [1, 1]]))
    sae = make_sae("mpsae", W_dec=atoms, b_dec=torch.zeros(2), s=3)
    expected, _, taken = _reference(torch.tensor([3.0, 1]), atoms, torch.zeros(2), 3)
    assert len(set(taken)) < 3
    np.testing.assert_allclose(sae.encode(torch.tensor([3.0, 1])).numpy(), expected, rtol=1e-5)


def test_dead_atoms_and_tokens_at_the_bias_get_nothing(form: str, make_sae) -> None:
    atoms = unit_atoms(_normal(9, 6))
    atoms[0] = 0
    sae = make_sae("mpsae", W_dec=atoms, s=30)
    assert not sae.encode(_normal(4, 6))[:, 0].any()
    assert not sae.encode(sae.b_dec.expand(4, 6)).any()


def test_both_forms_agree(make_sae, monkeypatch: pytest.MonkeyPatch) -> None:
    sae, x = make_sae("mpsae", d_in=48, d_sae=96, s=12), _normal(2, 5, 48)
    by_gram = sae.encode(x)
    monkeypatch.setattr(mpsae, "_GRAM_BUDGET", 0)
    torch.testing.assert_close(sae.encode(x), by_gram, rtol=1e-3, atol=1e-4)


def test_chunks_change_no_code(make_sae, monkeypatch: pytest.MonkeyPatch) -> None:
    sae, x = make_sae("mpsae", d_in=24, d_sae=64, s=6), _normal(3, 6, 24)
    whole = sae.encode(x)
    monkeypatch.setattr(mpsae, "_BUDGET", 1)
    torch.testing.assert_close(sae.encode(x), whole, rtol=1e-4, atol=1e-5)


def test_the_gram_matrix_follows_the_weights_and_is_not_saved(make_sae) -> None:
    sae, x = make_sae("mpsae"), _normal(3, 6)
    codes = sae.encode(x)
    assert set(sae.state_dict()) == {"W_dec", "b_dec"}
    torch.testing.assert_close(sae.double().encode(x.double()).float(), codes, rtol=1e-3, atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 7), st.integers(1, 9), st.integers(1, 12), st.data())
def test_shapes_of_every_kind(b: int, tokens: int, d_in: int, d_sae: int, s: int, data: st.DataObject) -> None:
    real = torch.tensor(data.draw(st.lists(st.booleans(), min_size=b * tokens, max_size=b * tokens)))
    mask, atoms = real.reshape(b, tokens), unit_atoms(_normal(d_sae, d_in, seed=3))
    card = SaeCard("t", "mpsae", Site(0, "resid_post"), d_in, d_sae, "m", {"s": s})
    sae = mpsae.MpSae(card, {"W_dec": atoms, "b_dec": torch.full((d_in,), 0.3)})
    x = _normal(b, tokens, d_in, seed=4)
    codes = sae.encode(x, mask)
    assert not codes[~mask].any()
    assert ((codes != 0).sum(-1) <= s).all()
    for token, found in zip(x[mask], codes[mask], strict=True):
        expected, _, _ = _reference(token, atoms, sae.b_dec, s)
        D = atoms.double().numpy()
        np.testing.assert_allclose(found.double().numpy() @ D, expected @ D, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("nonneg", [False, True])
def test_rounding_does_not_pile_up_over_many_steps(nonneg: bool, form: str, make_sae) -> None:
    sae, x = make_sae("mpsae", d_in=24, d_sae=96, s=400, nonneg=nonneg, b_dec=torch.zeros(24)), _normal(8, 24)
    exact = make_sae("mpsae", d_in=24, d_sae=96, s=400, nonneg=nonneg, b_dec=torch.zeros(24)).double()
    rest = (x - sae.decode(sae.encode(x))).norm(dim=1)
    true = (x.double() - exact.decode(exact.encode(x.double()))).norm(dim=1)
    assert (rest <= true + 3e-6 * x.norm(dim=1)).all()


def test_without_negative_codes_it_is_the_peers_pursuit(form: str, make_sae) -> None:
    sae, x = make_sae("mpsae", d_in=24, d_sae=64, s=9, nonneg=True, b_dec=torch.zeros(24)), _normal(10, 24)
    D = sae.W_dec.double().numpy()
    for token, found in zip(x.double().numpy(), sae.encode(x).numpy(), strict=True):
        codes, rest = np.zeros(64), token
        for _ in range(9):
            j = int(np.argmax(D @ rest))
            value = max(0.0, float(D[j] @ rest))
            codes[j] += value
            rest = rest - value * D[j]
        np.testing.assert_allclose(found, codes, rtol=1e-3, atol=1e-4)
    assert not sae.encode(-sae.W_dec[:1] * 0).any()
