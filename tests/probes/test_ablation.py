"""Ablation in closed form against decoding, and which latents are chosen."""

from __future__ import annotations

import pytest
import torch

from sae_research.probes.ablation import (
    ClassMeans,
    ablated_logits,
    choose_latents,
    class_means,
    removal_effects,
    targeted_effects,
)
from sae_research.probes.tasks import TaskRows


def test_a_probe_reads_what_decoding_without_the_latents_would_give() -> None:
    """Mean of decode(codes without S) + error over the tokens, in float64, against the closed form."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(5, 7, 4, generator=generator, dtype=torch.float64)
    codes = torch.randn(5, 7, 9, generator=generator, dtype=torch.float64).clamp(min=0)
    atoms = torch.randn(9, 4, generator=generator, dtype=torch.float64)
    offset, weights = torch.randn(4, generator=generator).double(), torch.randn(4, 2, generator=generator).double()
    bias = torch.tensor([0.3, -0.2]).double()
    chosen = torch.tensor([8, 0, 3])
    without = codes.clone()
    without[..., chosen] = 0
    modified = (without @ atoms + offset) + (x - (codes @ atoms + offset))
    expected = modified.mean(dim=1) @ weights + bias
    logits = ablated_logits(codes.mean(dim=1), atoms @ weights, x.mean(dim=1) @ weights + bias, [chosen, None])
    torch.testing.assert_close(logits[0], expected)
    assert bool(logits[1].isnan().all())


def test_class_means_and_effects_by_hand() -> None:
    codes = torch.tensor([[1.0, 0.0], [3.0, 2.0], [0.0, 4.0], [0.0, 0.0]])
    split = TaskRows(torch.tensor([[0, 1, 2, 3]]), torch.tensor([[True, True, False, False]]), 4)
    means = class_means(codes, split)
    assert means.positive.tolist() == [[2.0, 1.0]]
    assert means.negative.tolist() == [[0.0, 2.0]]
    directions = torch.tensor([[0.5], [3.0]]).double()
    assert removal_effects(means, directions).tolist() == [[1.0, 3.0]]
    assert targeted_effects(means, directions, "clean").tolist() == [[1.0, 0.0]]
    assert targeted_effects(means, directions, "sae_bench").tolist() == [[1.0, 0.0]]


def test_turning_the_sign_of_a_latent_changes_no_effect() -> None:
    """Codes -z on atom -d are codes z on atom d; SAEBench's rule sees only one of the two."""
    means = ClassMeans(torch.tensor([[2.0, 0.1]]).double(), torch.tensor([[0.5, 0.4]]).double())
    directions = torch.tensor([[1.0], [1.0]]).double()
    turned = ClassMeans(-means.positive, -means.negative)
    for effects in (removal_effects, lambda m, d: targeted_effects(m, d, "clean")):
        torch.testing.assert_close(effects(turned, -directions), effects(means, directions))
    assert targeted_effects(turned, -directions, "sae_bench").tolist()[0][0] == 0.0


def test_only_latents_with_an_effect_are_chosen() -> None:
    effects = torch.tensor([0.0, 2.0, -1.0, 5.0, 0.0, 2.0]).double()
    one, three, six, seven = choose_latents(effects, (1, 3, 6, 7), "clean")
    assert one is not None and three is not None and six is not None
    assert (one.tolist(), three.tolist(), six.tolist()) == ([3], [3, 1, 5], [3, 1, 5])
    assert seven is None


def test_sae_bench_fills_up_to_the_number_of_effects_that_are_not_zero() -> None:
    effects = torch.tensor([0.0, 2.0, -1.0, 5.0]).double()
    (chosen,) = choose_latents(effects, (4,), "sae_bench")
    assert chosen is not None
    assert sorted(effects[chosen].tolist()) == [0.0, 2.0, 5.0]


@pytest.mark.parametrize("rules", ["clean", "sae_bench"])
def test_latents_without_any_effect_leave_the_probe_alone(rules: str) -> None:
    (chosen,) = choose_latents(torch.zeros(3).double(), (2,), rules)  # type: ignore[arg-type]
    assert chosen is not None
    assert chosen.tolist() == []
