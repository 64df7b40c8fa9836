"""Warnings before a training: those that seed 004 would have needed, and none without a cause."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from support.training import settings_with
from torch import Tensor

from sae_research.training.advice import MeasuredText, advice

LLAMA: dict[str, Any] = {
    "dataset": "jyanimaulik/yahoo_finance_stockmarket_news", "layer": 12, "d_sae": None, "expansion_factor": 32,
    "training_tokens": 500_000, "lr": 1e-4, "l1_coefficient": 5.0, "normalize_activations": "none",
    "train_batch_size_tokens": 1024, "context_size": 2048,
}  # fmt: skip
SOUND: dict[str, Any] = {"training_tokens": 200_000, "train_batch_size_tokens": 100}


def activations(norm: float, d_in: int = 16) -> Tensor:
    x = torch.randn(500, d_in, generator=torch.Generator().manual_seed(0))
    return norm * x / x.norm(dim=1, keepdim=True)


def test_seed_004_is_told_all_that_went_wrong() -> None:
    settings = settings_with("standard", **LLAMA)
    size, steps, scale, text = advice(settings, activations(8, 4096), MeasuredText("wikitext", "test", 64))
    assert size.startswith("500,736 tokens are 3.82 for each of 131,072 latents: most may stay dead")
    assert "train on 13,107,200 or more (training_tokens)" in size
    assert steps.startswith("it takes 489 steps only")
    # Loss with x scaled by f: MSE grows by f ** 2, the L1 term by f.
    assert "mean norm is 8 where coefficients and thresholds are made for 64" in scale
    assert "an l1_coefficient of 5 acts as 40 would" in scale
    assert "set normalize_activations: expected_average_only_in" in scale
    assert "trained on jyanimaulik/yahoo_finance_stockmarket_news and measured on wikitext" in text


def test_an_l1_coefficient_acts_in_proportion_to_the_scale() -> None:
    """The same SAE on x and on f x: its gradient for l1 on x is that for f l1 on f x, over f ** 2."""
    generator = torch.Generator().manual_seed(1)
    x, atoms = torch.randn(20, 4, generator=generator), torch.randn(8, 4, generator=generator)
    f, l1 = 8.0, 5.0

    def loss(x: Tensor, coefficient: float) -> Tensor:
        codes = torch.relu(x @ atoms.T)
        return ((codes @ atoms - x) ** 2).sum(1).mean() + coefficient * codes.sum(1).mean()

    torch.testing.assert_close(loss(x, l1), loss(f * x, f * l1) / f**2)


def test_a_sound_training_gets_no_advice() -> None:
    measured = MeasuredText("embedded/text", "test", 16)
    settings = settings_with("topk", **SOUND, dead_feature_window=100)
    assert advice(settings, activations(4), measured) == []
    assert advice(settings_with("standard", **SOUND, normalize_activations="none"), activations(5)) == []


@pytest.mark.parametrize(
    ("architecture", "changes", "measured", "message"),
    [
        ("topk", {"dead_feature_window": 2000}, None, "dead latents are not revived: .* 2000 steps .* there are 2000"),
        ("standard", {}, ("embedded/text", "train", 16), "trained on the text that core_eval measures"),
        ("standard", {"context_size": 32}, ("embedded/text", "test", 16), "rows of 32 tokens and measured on"),
    ],
)
def test_what_else_is_told(
    architecture: str, changes: dict[str, Any], measured: tuple[str, str, int] | None, message: str
) -> None:
    text = None if measured is None else MeasuredText(*measured)
    sentences = advice(settings_with(architecture, **SOUND, **changes), activations(4), text)
    assert len(sentences) == 1
    assert re.search(message, sentences[0])


def test_texts_that_pass_over_the_measured_ones_are_all_right() -> None:
    settings = settings_with("standard", **SOUND, first_text=500)
    assert advice(settings, activations(4), MeasuredText("embedded/text", "train", 16)) == []


def test_outliers_are_told_unless_they_are_left_out() -> None:
    x = activations(4)
    x[7] *= 150
    (sentence,) = advice(settings_with("standard", **SOUND), x)
    assert sentence == (
        "1 of 500 activations have norms of up to 600 where the median is 4: they rule the loss; leave them out "
        "(outlier_norm: 10)"
    )
    assert advice(settings_with("standard", **SOUND, outlier_norm=10), x) == []
