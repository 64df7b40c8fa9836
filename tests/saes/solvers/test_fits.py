"""Least squares with and without signs, and the factor that leaves out dependent atoms, against float64."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from scipy.optimize import nnls
from torch import Tensor

from sae_research.saes.build import unit_atoms
from sae_research.saes.solvers import least_squares as module
from sae_research.saes.solvers import nonnegative
from sae_research.saes.solvers.cholesky import independent_cholesky
from sae_research.saes.solvers.least_squares import least_squares
from sae_research.saes.solvers.nonnegative import fit_nonnegative, nonnegative_least_squares


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _coherent(m: int, d: int, *, shared: float, seed: int = 0) -> Tensor:
    """Unit atoms that have a part in common: the larger `shared`, the closer to singular."""
    return unit_atoms(_normal(m, d, seed=seed) + shared * _normal(1, d, seed=seed + 1))


@pytest.mark.parametrize("shared", [0.0, 3.0, 30.0, 300.0])
@pytest.mark.parametrize(("m", "d"), [(20, 64), (60, 64), (64, 64), (66, 64), (130, 64), (300, 200)])
def test_the_fit_is_within_the_bound_of_float64(m: int, d: int, shared: float) -> None:
    atoms, y = _coherent(m, d, shared=shared), _normal(9, d, seed=5)
    found = least_squares(y[None], atoms[None], torch.tensor([m]))[0].double().numpy()
    A, Y = atoms.double().numpy(), y.double().numpy()
    expected = np.linalg.lstsq(A.T, Y.T, rcond=float(np.finfo(np.float32).eps) * max(m, d))[0].T
    assert np.linalg.norm(found - expected) <= 2e-5 * np.linalg.norm(expected)
    rounding = float(np.finfo(np.float32).eps) * np.linalg.norm(expected) * np.linalg.norm(A, 2)
    assert np.linalg.norm((found - expected) @ A) <= 2e-5 * np.linalg.norm(Y) + rounding


def test_only_ill_conditioned_sequences_go_to_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []
    exact = module._by_atoms
    monkeypatch.setattr(module, "_by_atoms", lambda y, a, s: given.append(len(y)) or exact(y, a, s))
    atoms = torch.stack([_coherent(20, 64, shared=0.0), _coherent(20, 64, shared=3e3), _coherent(20, 64, shared=1.0)])
    least_squares(_normal(3, 5, 64), atoms, torch.tensor([20, 20, 20]))
    assert given == [1]


def test_the_condition_number_is_estimated_from_below() -> None:
    for shared in (0.0, 3.0, 30.0):
        atoms = _coherent(40, 64, shared=shared)
        gram = atoms @ atoms.T
        true = float(torch.linalg.cond(gram.double()))
        estimate = float(module._condition(torch.linalg.cholesky(gram)[None]))
        assert 0.3 * true <= estimate <= 1.05 * true


@pytest.mark.parametrize(("m", "d", "shared"), [(5, 12, 0.0), (30, 12, 0.0), (12, 30, 4.0), (1, 4, 0.0)])
def test_non_negative_fits_are_those_of_lawson_and_hanson(m: int, d: int, shared: float) -> None:
    atoms, y = _coherent(m, d, shared=shared), _normal(2, 6, d, seed=5)
    found = nonnegative_least_squares(y, torch.stack([atoms, atoms]), torch.tensor([m, m])).double().numpy()
    assert (found >= 0).all()
    A = atoms.double().numpy()
    for own, values in zip(y.reshape(-1, d).double().numpy(), found.reshape(-1, m), strict=True):
        expected, rest = nnls(A.T, own)
        assert np.linalg.norm(own - values @ A) == pytest.approx(rest, rel=1e-5, abs=1e-3)
        if m < d:
            np.testing.assert_allclose(values, expected, atol=2e-3)


def test_a_non_negative_fit_that_does_not_converge_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    atoms, y, allowed = _coherent(30, 20, shared=3.0)[None], _normal(1, 5, 20, seed=2), torch.ones(1, 5, 30).bool()
    fit_nonnegative(y, atoms, allowed)
    assert caplog.messages == []
    monkeypatch.setattr(nonnegative, "_MOST_STEPS", 10)
    fit_nonnegative(y, atoms, allowed)
    [message] = caplog.messages
    assert re.match("non-negative least squares: [1-5] of 5 tokens did not converge in 10 steps; a gradient", message)


def test_non_negative_fits_keep_to_what_is_allowed_and_to_themselves() -> None:
    atoms, y = unit_atoms(_normal(9, 6))[None], _normal(1, 4, 6, seed=2)
    allowed = torch.arange(9).expand(1, 4, 9) <= torch.tensor([0, 3, 5, 8])[:, None]
    found = fit_nonnegative(y, atoms, allowed)
    assert not found[~allowed].any()
    for token, m in enumerate((1, 4, 6, 9)):
        expected, _ = nnls(atoms[0, :m].double().numpy().T, y[0, token].double().numpy())
        np.testing.assert_allclose(
            found[0, token, :m].numpy() @ atoms[0, :m].numpy(), expected @ atoms[0, :m].numpy(), atol=1e-4
        )
    assert not fit_nonnegative(-atoms[:, :1], atoms[:, :1], allowed[:, :1, :1]).any()


@pytest.mark.parametrize("m", [3, 33, 70])
def test_the_factor_of_independent_atoms_is_cholesky(m: int) -> None:
    atoms = unit_atoms(_normal(m, 80)).double()
    factor = independent_cholesky((atoms @ atoms.T)[None])
    assert factor.is_kept.all()
    torch.testing.assert_close(factor.lower[0], torch.linalg.cholesky(atoms @ atoms.T))


def test_dependent_and_dead_atoms_are_left_out_in_order() -> None:
    atoms = unit_atoms(_normal(50, 40)).double()
    atoms[3], atoms[7], atoms[35], atoms[36] = atoms[1], 0, -atoms[2], atoms[5] + 1e-5 * atoms[6]
    lower, kept = independent_cholesky((atoms @ atoms.T)[None])
    left_out = (~kept[0]).nonzero().flatten().tolist()
    assert left_out == [3, 7, 35, 36, *range(44, 50)]
    own = lower[0][kept[0]][:, kept[0]]
    torch.testing.assert_close(own @ own.T, atoms[kept[0]] @ atoms[kept[0]].T)
