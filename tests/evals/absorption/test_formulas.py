"""Absorption of one word at a time, worked out by hand and by the definition written as a loop."""

from __future__ import annotations

import pytest
import torch
from sklearn.metrics import f1_score

from sae_research.evals.absorption.formulas import Absorbed, SplitLatents, count_split, f1_scores, measure_absorbed

# Latent 0 is the letter's own; 1 to 4 could absorb it, 5 is not aligned enough, 6 is opposed.
COSINES = torch.tensor([0.5, 0.5, 0.5, 0.5, 0.5, 0.05, -0.5])
SPLIT = [0]


def _absorbed(codes: torch.Tensor, cosines: torch.Tensor, projections: torch.Tensor, split: list[int]) -> Absorbed:
    """Of words of one letter, beside another letter with more latents."""
    latents = torch.tensor([split + [0] * (5 - len(split)), [1, 2, 3, 4, 5]])
    both = SplitLatents(latents, torch.tensor([len(split), 5]))
    letters = torch.zeros(len(codes), dtype=torch.long)
    return measure_absorbed(codes, torch.stack([cosines, -cosines]), projections, both, letters)


def _measure(codes: list[float], projection: float) -> tuple[float, bool]:
    absorbed = _absorbed(torch.tensor([codes]), COSINES, torch.tensor([projection]), SPLIT)
    return float(absorbed.fraction[0]), bool(absorbed.is_full[0])


@pytest.mark.parametrize(
    ("codes", "projection", "fraction", "is_full"),
    [
        ([20, 20, 0, 0, 0, 0, 0], 10.0, 0.0, False),  # The own latent says all of it.
        ([0, 20, 0, 0, 0, 0, 0], 10.0, 1.0, True),  # One other says all of it.
        ([0, 3, 3, 3, 0, 0, 0], 10.0, 1.0, False),  # Three others say 45 %, none of them 40 %.
        ([0, 3, 2, 2, 2, 0, 0], 10.0, 0.0, False),  # Only three count: 35 %.
        ([8, 8, 0, 0, 0, 0, 0], 10.0, 0.5, False),  # 4 of its own, 4 of another's: a = min(4, 10 - 4), a / (a + 4).
        ([8, 16, 0, 0, 0, 0, 0], 10.0, 0.6, False),  # a = min(8, 6).
        ([0, 0, 0, 0, 0, 200, 0], 10.0, 0.0, True),  # Cosine .05: too little for the fraction, not for full absorption.
        ([0, 0, 0, 0, 0, 0, -20], 10.0, 0.0, False),  # A negative code on an opposed latent is no absorber.
        ([-4, 20, 0, 0, 0, 0, 0], 10.0, 1.0, True),  # A split latent with a negative code is silent.
        ([0, -20, 10, 0, 0, 0, 0], 10.0, 1.0, True),
        ([0, 20, 0, 0, 0, 0, 0], -1.0, 0.0, False),  # The probe says nothing.
        ([0, 0, 0, 0, 0, 0, 0], 10.0, 0.0, False),
    ],
)
def test_by_hand(codes: list[float], projection: float, fraction: float, is_full: bool) -> None:
    assert _measure(codes, projection) == (pytest.approx(fraction), is_full)


def test_as_the_definition_reads() -> None:
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(200, 12, generator=generator) * (torch.rand(200, 12, generator=generator) < 0.5) * 4
    cosines = 0.4 * torch.randn(12, generator=generator)
    projections = 2 * torch.randn(200, generator=generator) + 1
    absorbed = _absorbed(codes, cosines, projections, [3, 7])
    for row, p, fraction, is_full in zip(codes.tolist(), projections.tolist(), *map(list, absorbed), strict=True):
        said = [z * c for z, c in zip(row, cosines.tolist(), strict=True)]
        own = said[3] + said[7]
        others = sorted(
            (s for i, s in enumerate(said) if i not in (3, 7) and s > 0 and cosines[i] >= 0.1), reverse=True
        )
        absorbing = sum(others[:3])
        if own >= p or absorbing / p < 0.4:
            expected = 0.0
        elif own <= 0:
            expected = 1.0
        else:
            a = min(absorbing, p - own)
            expected = min(1.0, max(0.0, a / (a + own)))
        top = max(range(12), key=lambda i: said[i])
        full = row[3] < 1e-8 and row[7] < 1e-8 and cosines[top] >= 0.025 and p >= 0 and said[top] / p >= 0.4
        assert float(fraction) == pytest.approx(expected, abs=1e-5)
        assert bool(is_full) == bool(full)


def test_words_of_several_letters_as_letter_by_letter() -> None:
    generator = torch.Generator().manual_seed(1)
    codes = torch.randn(60, 12, generator=generator).relu() * 3
    cosines = 0.4 * torch.randn(3, 12, generator=generator)
    projections = 2 * torch.rand(60, generator=generator)
    split = SplitLatents(torch.randperm(12, generator=generator).view(3, 4), torch.tensor([1, 4, 2]))
    letters = torch.randint(3, (60,), generator=generator)
    together = measure_absorbed(codes, cosines, projections, split, letters)
    for letter, (latents, n) in enumerate(zip(split.latents.tolist(), split.counts.tolist(), strict=True)):
        words = letters == letter
        alone = _absorbed(codes[words], cosines[letter], projections[words], latents[:n])
        torch.testing.assert_close(together.fraction[words], alone.fraction)
        assert torch.equal(together.is_full[words], alone.is_full)
    assert 0 < float(together.fraction.mean()) < 1


def test_f1_is_that_of_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(0)
    predicted = torch.rand(3, 50, 4, generator=generator) < 0.3
    actual = torch.rand(50, 4, generator=generator) < 0.3
    for k, part in enumerate(f1_scores(predicted, actual)):
        expected = [f1_score(actual[:, i], predicted[k, :, i]) for i in range(4)]
        assert part.tolist() == pytest.approx(expected)
    assert f1_scores(torch.zeros(5, 1, dtype=torch.bool), torch.zeros(5, 1, dtype=torch.bool)).tolist() == [0]


def test_a_feature_is_split_as_long_as_f1_jumps() -> None:
    f1 = torch.tensor([[0.5, 0.5, 0.0, 0.9], [0.6, 0.52, 0.0, 0.8], [0.7, 0.9, 0.9, 0.95], [0.7, 0.99, 0.9, 0.99]])
    assert count_split(f1, 0.03).tolist() == [3, 1, 1, 1]
