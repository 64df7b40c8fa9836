"""Rows without their zeros give what the same rows in a tensor give."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sae_research.probes import sparse_rows
from sae_research.probes.ablation import ablated_logits, atom_products, class_means
from sae_research.probes.sparse_rows import SparseRows, take_columns, take_rows, weighted_sums
from sae_research.probes.tasks import make_tasks, rank_features, score_top_k, score_wide

SIZES = {"a": 40, "b": 40, "c": 40}


def _rows(seed: int, n: int = 120, features: int = 30) -> Tensor:
    """Few features that are not 0; three never are."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, features, generator=generator).relu() * (torch.rand(n, features, generator=generator) < 0.3)
    x[: n // 3, 4] += 2
    x[:, [0, 7, 29]] = 0
    return x


def _sparse(x: Tensor) -> SparseRows:
    return SparseRows.of(x.split(50), x.shape[1], x.device)


def test_by_hand() -> None:
    x = torch.tensor([[0.0, 5, 0], [0, 0, 0], [7, 0, -9]])
    rows = _sparse(x)
    assert len(rows) == 3
    assert rows.features().tolist() == [0, 1, 2]
    assert rows.columns(torch.tensor([2, 0])).tolist() == [[0, 0], [0, 0], [-9, 7]]
    assert rows.take(torch.tensor([2, 0])).columns(torch.arange(3)).tolist() == [[7, 0, -9], [0, 5, 0]]
    assert weighted_sums(rows, torch.tensor([[1.0, 1, 0.5]]).double()).tolist() == [[3.5, 5.0, -4.5]]


@pytest.mark.parametrize("block", [2**27, 30 * 7])
def test_probes_and_ablations_do_not_see_how_rows_are_kept(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse_rows, "_BLOCK_ELEMENTS", block)
    train, test, tasks = _rows(0), _rows(1), make_tasks(SIZES, SIZES, key=("x",))
    kept = _sparse(train), _sparse(test)
    assert rank_features(kept[0], tasks.train, 30).tolist() == rank_features(train, tasks.train, 30).tolist()
    for expected, of_kept in (
        (score_top_k(train, test, tasks, (1, 5, 31)), score_top_k(*kept, tasks, (1, 5, 31))),
        ({0: score_wide(train, test, tasks)}, {0: score_wide(*kept, tasks)}),
    ):
        assert list(expected) == list(of_kept)
        for k, tests in expected.items():
            assert [t.hits.tolist() for t in tests.values()] == [t.hits.tolist() for t in of_kept[k].values()]
    for side, of_kept in zip(class_means(train, tasks.train), class_means(kept[0], tasks.train), strict=True):
        torch.testing.assert_close(of_kept, side, rtol=1e-12, atol=1e-12)
    directions, logits = torch.randn(30, 3).double(), torch.randn(120, 3).double()
    chosen = [torch.tensor([4, 1, 29]), torch.tensor([4]), None, torch.tensor([], dtype=torch.long)]
    after = ablated_logits(test, directions, logits, chosen)
    torch.testing.assert_close(ablated_logits(kept[1], directions, logits, chosen), after, equal_nan=True)


def test_neighbours_are_no_copy() -> None:
    x = _rows(0)
    for rows, is_copy in (([3, 4, 5], False), ([5, 2, 2], True), ([2, 4], True), ([], True)):
        some = take_rows(x, torch.tensor(rows, dtype=torch.long))
        assert isinstance(some, Tensor)
        assert torch.equal(some, x[rows])
        assert (some.untyped_storage().data_ptr() != x.untyped_storage().data_ptr()) == is_copy
    assert torch.equal(take_columns(x, torch.tensor([4, 1])), x[:, [4, 1]])


def test_products_of_many_atoms_are_computed_in_parts() -> None:
    atoms, probes = torch.randn(2**15 + 3, 2), torch.randn(3, 2)
    torch.testing.assert_close(atom_products(atoms, probes), atoms.double() @ probes.double().T)
