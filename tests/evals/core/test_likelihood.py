"""Cross-entropy and KL in chunks against their definitions."""

from __future__ import annotations

import math

import pytest
import torch

from sae_research.evals.core import likelihood
from sae_research.evals.core.likelihood import compare_predictions


def _identity(hidden: torch.Tensor) -> torch.Tensor:
    return hidden


def test_by_hand() -> None:
    """Two words: clean says (1/4, 3/4), changed (1/2, 1/2); the target is the second."""
    clean, changed = torch.tensor([[0.0, math.log(3)]]), {"even": torch.zeros(1, 2)}
    predicted, losses = compare_predictions(clean, changed, torch.tensor([1]), _identity, vocab_size=2)
    assert predicted.cross_entropy.item() == pytest.approx(-math.log(3 / 4))
    assert predicted.is_right.item() and losses["even"].predicted.is_right.item(), "none is likelier"
    assert losses["even"].cross_entropy.item() == pytest.approx(math.log(2))
    assert losses["even"].divergence.item() == pytest.approx(-math.log(2) / 4 + 3 / 4 * math.log(3 / 2))


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    clean, other = torch.randn(2, 23, 40, generator=generator)
    targets = torch.randint(0, 40, (23,), generator=generator)
    whole = compare_predictions(clean, {"a": other, "b": clean}, targets, _identity, vocab_size=40)
    monkeypatch.setattr(likelihood, "_ROWS", 5)
    monkeypatch.setattr(likelihood, "_CHUNK_ELEMENTS", 0)
    parts = compare_predictions(clean, {"a": other, "b": clean}, targets, _identity, vocab_size=40)
    torch.testing.assert_close(whole, parts)
    assert whole[1]["b"].divergence.abs().max() == 0


def test_vanishing_probabilities_stay_finite() -> None:
    """Where SAEBench's log(softmax) gives NaN."""
    clean = torch.tensor([[0.0, 500.0, -500.0]])
    changed = {"turned": torch.tensor([[500.0, 0.0, -500.0]])}
    _, losses = compare_predictions(clean, changed, torch.tensor([2]), _identity, vocab_size=3)
    assert losses["turned"].divergence.item() == 500
    assert losses["turned"].cross_entropy.item() == 1000


def test_half_precision_logits_are_widened() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 30, generator=generator).bfloat16()
    targets = torch.arange(4)
    predicted, _ = compare_predictions(logits, {}, targets, _identity, vocab_size=30)
    expected = torch.nn.functional.cross_entropy(logits.float(), targets, reduction="none")
    torch.testing.assert_close(predicted.cross_entropy, expected)
