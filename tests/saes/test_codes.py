"""Sparse codes against the dense ones that they stand for."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sae_research.saes.codes import SparseCodes, joined, sparse_codes

DENSE = torch.tensor([[0.0, 5, 0], [0, 0, 0], [7, 0, -9]])
SPARSE = SparseCodes(torch.tensor([1, 0, 2]), torch.tensor([1, 0, 2]), torch.tensor([5.0, 7, -9]))


def _equal(a: SparseCodes, b: SparseCodes) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_by_hand() -> None:
    assert _equal(sparse_codes(DENSE), SPARSE)
    assert torch.equal(SPARSE.dense(3), DENSE)
    assert SPARSE.owners.tolist() == [0, 2, 2]
    assert torch.equal(SPARSE.take(torch.tensor([2, 0])).dense(3), DENSE[[2, 0]])
    assert torch.equal(SPARSE.columns(torch.tensor([2, 1]), 3), DENSE[:, [2, 1]])
    assert torch.equal(joined([SPARSE, SPARSE]).dense(3), torch.cat([DENSE, DENSE]))


def test_nothing_has_no_codes() -> None:
    for dense in (torch.zeros(0, 3), torch.zeros(4, 3)):
        codes = sparse_codes(dense)
        assert len(codes.latents) == len(codes.values) == 0
        assert torch.equal(codes.dense(3), dense)
        assert torch.equal(codes.take(torch.arange(len(dense))).dense(3), dense)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.integers(1, 6), st.data())
def test_whatever_is_taken_is_taken_from_the_dense_codes(n: int, d_sae: int, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.integers(-2, 2), min_size=n * d_sae, max_size=n * d_sae))
    dense = torch.tensor(values).float().view(n, d_sae)
    codes = sparse_codes(dense)
    tokens = torch.tensor(data.draw(st.lists(st.integers(0, n - 1))), dtype=torch.long)
    latents = torch.tensor(data.draw(st.lists(st.integers(0, d_sae - 1), unique=True)), dtype=torch.long)
    assert torch.equal(codes.dense(d_sae), dense)
    assert torch.equal(codes.take(tokens).dense(d_sae), dense[tokens])
    assert torch.equal(codes.columns(latents, d_sae), dense[:, latents])
