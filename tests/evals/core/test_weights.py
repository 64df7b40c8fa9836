"""Statistics of weights by hand."""

from __future__ import annotations

import math

import pytest
import torch

from sae_research.evals.core import weights
from sae_research.evals.core.weights import describe_weights, largest_cosines


def test_weights_by_hand() -> None:
    decoder = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])
    encoder = torch.tensor([[2.0, 0.0], [0.0, -1.0], [0.0, 0.0]]).T
    statistics = describe_weights(encoder, decoder, torch.tensor([1.0, 2.0, 3.0]))
    root = math.sqrt(0.5)
    assert statistics["encoder_bias"].tolist() == [1, 2, 3]
    assert statistics["encoder_norm"].tolist() == [2, 1, 0]
    assert statistics["encoder_decoder_cosine_sim"].tolist() == pytest.approx([1, -1, 0])
    assert statistics["max_decoder_cosine_sim"].tolist() == pytest.approx([root, root, root])
    assert statistics["max_encoder_cosine_sim"].tolist() == pytest.approx([0, 0, 0])


def test_blocks_of_cosines_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    units = torch.nn.functional.normalize(torch.randn(11, 5, generator=torch.Generator().manual_seed(0)), dim=1)
    whole = largest_cosines(units)
    by_hand = (units @ units.T - 2 * torch.eye(11)).amax(dim=1)
    torch.testing.assert_close(whole, by_hand)
    monkeypatch.setattr(weights, "_ROWS", 3)
    torch.testing.assert_close(largest_cosines(units), whole)


def test_a_lone_latent_has_no_neighbour() -> None:
    assert largest_cosines(torch.ones(1, 1)).item() == -math.inf
