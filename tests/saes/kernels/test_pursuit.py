"""The compiled kernel against the plain paths, and what happens where it cannot be had."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sae_research.saes.build import unit_atoms
from sae_research.saes.kernels import compiling, pursuit
from sae_research.saes.pursuit import matching
from sae_research.saes.solvers.gram import gram_matrix, shared_gram
from sae_research.saes.solvers.selection import top_k_mask

needs_kernel = pytest.mark.skipif(pursuit.library() is None, reason="no C++ compiler")


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _pursue(correlations: Tensor, gram: Tensor, *, steps: int, nonneg: bool) -> Tensor:
    codes = torch.zeros_like(correlations)
    matching.pursue_correlations(correlations, gram, codes, steps=steps, nonneg=nonneg)
    return codes


def _both(y: Tensor, atoms: Tensor, monkeypatch: pytest.MonkeyPatch, *, steps: int, nonneg: bool) -> list[Tensor]:
    gram, found = gram_matrix(atoms), []
    for serves in (pursuit.serves, lambda _: False):
        monkeypatch.setattr(pursuit, "serves", serves)
        found.append(_pursue(y @ atoms.T, gram, steps=steps, nonneg=nonneg))
    monkeypatch.undo()
    return found


@needs_kernel
@pytest.mark.parametrize("nonneg", [False, True])
@pytest.mark.parametrize(
    ("tokens", "d_in", "d_sae", "steps"), [(9, 24, 64, 7), (1, 30, 777, 20), (33, 16, 513, 40), (6, 5, 3, 9)]
)
def test_kernel_and_plain_path_agree(
    tokens: int, d_in: int, d_sae: int, steps: int, nonneg: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    y, atoms = _normal(tokens, d_in), unit_atoms(_normal(d_sae, d_in, seed=1))
    compiled, plain = _both(y, atoms, monkeypatch, steps=steps, nonneg=nonneg)
    assert torch.equal(compiled.abs() > 1e-5, plain.abs() > 1e-5)
    torch.testing.assert_close(compiled, plain, rtol=1e-4, atol=1e-5)
    assert not nonneg or (compiled >= 0).all()


@needs_kernel
@pytest.mark.parametrize("nonneg", [False, True])
def test_on_whole_numbers_ties_go_to_the_lowest_atom_in_both(nonneg: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(3)
    atoms = torch.eye(300)[torch.randint(300, (700,), generator=generator)]
    y = torch.randint(-2, 3, (40, 300), generator=generator).float()
    compiled, plain = _both(y, atoms, monkeypatch, steps=60, nonneg=nonneg)
    assert torch.equal(compiled, plain)
    assert compiled.any()


@needs_kernel
@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 40), st.data())
def test_the_strongest_are_those_of_the_plain_path(sequences: int, tokens: int, n: int, data: st.DataObject) -> None:
    size = sequences * tokens * n
    values = data.draw(st.lists(st.integers(-4, 4), min_size=size, max_size=size))
    correlations = torch.tensor(values).float().reshape(sequences, tokens, n)
    k, nonneg = data.draw(st.integers(1, n)), data.draw(st.booleans())
    expected = top_k_mask(correlations if nonneg else correlations.abs(), k).any(dim=1)
    assert torch.equal(pursuit.mark_strongest(correlations, k=k, nonneg=nonneg), expected)


@needs_kernel
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_neither_threads_nor_company_change_a_bit(threads: int) -> None:
    atoms, y = unit_atoms(_normal(300, 20)), _normal(23, 20, seed=1)
    gram, correlations = gram_matrix(atoms), y @ atoms.T
    alone = [_pursue(row.clone()[None], gram, steps=15, nonneg=False) for row in correlations]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        together = _pursue(correlations.clone(), gram, steps=15, nonneg=False)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(together, torch.cat(alone))


@needs_kernel
def test_not_a_number_stays_visible_and_harms_no_other_token() -> None:
    atoms, y = unit_atoms(_normal(300, 20)), _normal(5, 20, seed=1)
    gram, correlations = gram_matrix(atoms), y @ atoms.T
    spoilt = correlations.clone()
    spoilt[2] = torch.nan
    codes = _pursue(spoilt, gram, steps=4, nonneg=False)
    assert codes[2].isnan().any()
    kept = [0, 1, 3, 4]
    clean = _pursue(correlations, gram, steps=4, nonneg=False)
    assert torch.equal(codes[kept], clean[kept])


def test_what_the_kernel_cannot_serve_takes_the_plain_path() -> None:
    assert not pursuit.serves(torch.zeros(2, 3, dtype=torch.float64))
    assert not pursuit.serves(torch.zeros(2, 3, requires_grad=True))


@pytest.fixture
def fresh_loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The loader as in a new process, with an empty cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    _forget()
    yield tmp_path
    _forget()


def _forget() -> None:
    pursuit.library.cache_clear()
    compiling.load_source.cache_clear()


@needs_kernel
def test_it_is_compiled_once(fresh_loader: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert pursuit.library() is not None
    [built] = (fresh_loader / "sae_research").iterdir()
    stamp = built.stat().st_mtime_ns
    _forget()
    assert pursuit.library() is not None
    assert [path.stat().st_mtime_ns for path in (fresh_loader / "sae_research").iterdir()] == [stamp]


def test_without_a_compiler_there_is_one_line_and_the_plain_path(
    fresh_loader: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(compiling.shutil, "which", lambda _: None)
    with caplog.at_level(logging.INFO, logger=compiling.__name__):
        assert not pursuit.serves(torch.zeros(1, 1))
        assert not pursuit.serves(torch.zeros(1, 1))
    assert [record.message for record in caplog.records] == [
        "no C++ compiler found: pursuit runs in plain PyTorch, which is several times slower"
    ]


def test_a_compiler_that_fails_is_told_of_once(
    fresh_loader: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_command: list[str]) -> str:
        raise subprocess.CalledProcessError(1, "c++", stderr="unknown option -march=pursuit\n")

    monkeypatch.setattr(compiling.shutil, "which", lambda _: "/usr/bin/c++")
    monkeypatch.setattr(compiling, "_run", fail)
    assert pursuit.library() is None
    assert pursuit.library() is None
    [record] = caplog.records
    assert record.message.endswith("unknown option -march=pursuit")
    assert not list(fresh_loader.rglob("*.so"))


def test_the_gram_matrix_is_mirrored_and_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    from sae_research.saes.solvers import gram

    monkeypatch.setattr(gram, "_ROWS", 7)
    atoms = unit_atoms(_normal(40, 12))
    held = shared_gram(atoms)
    torch.testing.assert_close(held, atoms @ atoms.T)
    assert torch.equal(held[:7, 7:], held[7:, :7].T)
    assert shared_gram(atoms.clone()) is held
    assert shared_gram(-atoms) is not held
