"""Padding as SAEBench ablates it, by hand."""

from __future__ import annotations

import torch
from support.outcomes import MakeSae

from sae_research.evals.base import EvalContext
from sae_research.evals.shared.padding import padding_ratios, with_padding
from sae_research.probes.sparse_rows import SparseRows, take_columns


def test_padding_adds_the_codes_of_zero_for_each_position_that_is_not_real(
    context: EvalContext, make_sae: MakeSae
) -> None:
    ratios = padding_ratios(context.lm, ["w1 w2 w3", "w1"], context_size=6)
    assert ratios.tolist() == [1.0, 5.0]
    sae, codes = make_sae("relu"), torch.ones(2, 48)
    empty = sae.encode(torch.zeros(1, 16))
    assert float(empty.max()) > 0
    torch.testing.assert_close(with_padding(sae, codes, ratios), 1 + torch.tensor([[1.0], [5.0]]) * empty)
    kept = with_padding(sae, SparseRows.of([codes], 48, codes.device), ratios)
    torch.testing.assert_close(take_columns(kept, torch.arange(48)), with_padding(sae, codes, ratios))
    assert with_padding(make_sae("ihtp", k=1), codes, ratios) is codes
