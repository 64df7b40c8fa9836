"""Training: the same bits whatever the number of threads, and gradients as without any division of work."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoTokenizer

from sae_research.digests import digest_file
from sae_research.progress import Progress
from sae_research.workers import workers
from sae_research.world.build import build_world
from sae_research.world.harvest import Activations
from sae_research.world.lm_training import differentiate, make_model
from sae_research.world.sae_objectives import smallest_kept
from sae_research.world.sae_plan import SaePlan
from sae_research.world.sae_training import train_saes
from sae_research.world.settings import RECIPES, WorldSettings


def test_weights_do_not_depend_on_the_threads_of_the_process(tiny_world: Path, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with Progress("world", shown=False) as progress:
            build_world(tmp_path / "world", WorldSettings(seed=3, size="tiny"), progress)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    for name in ("lm/model.safetensors", "sae-topk/k16/sae_weights.safetensors"):
        assert digest_file(tmp_path / "world" / "models" / name) == digest_file(tiny_world / "models" / name)


def test_the_gradient_of_parts_is_that_of_the_whole_batch(tiny_world: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_world / "models" / "lm", local_files_only=True)
    model = make_model(tokenizer, RECIPES["tiny"], seed=0)
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(len(tokenizer), (5, 12), generator=generator)
    weight = torch.rand(5, 11, generator=generator)
    with workers(2) as pool:
        loss = differentiate(model, tokens, weight, 2, pool)
    found = [p.grad for p in model.parameters() if p.grad is not None]
    model.zero_grad(set_to_none=True)

    logits = model(tokens).logits[:, :-1]
    each = cross_entropy(logits.transpose(1, 2), tokens[:, 1:], reduction="none")
    expected = (each * weight).sum() / weight.sum()
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    for parameter, gradient in zip(model.parameters(), found, strict=True):
        assert parameter.grad is not None
        assert torch.allclose(gradient, parameter.grad, atol=1e-6)


def _train(plan: SaePlan, *, trained: int, untrained: int) -> dict[str, torch.Tensor]:
    """The tensors of one SAE, with activations of these seeds."""

    def activations(seed: int) -> Activations:
        x = torch.randn(40 * 256, 8, generator=torch.Generator().manual_seed(seed)) * torch.linspace(0.2, 2, 8) + seed
        scale = float(8**0.5 / x.norm(dim=1).mean())
        return Activations(x * scale, scale)

    both = {"trained": activations(trained), "untrained": activations(untrained)}
    recipe = dataclasses.replace(RECIPES["tiny"], d_sae=16)
    with workers(1) as pool, Progress("x", shown=False) as progress:
        [made] = train_saes([plan], both, recipe, progress, pool, seed=0)
    return dict(made.tensors)


def test_an_sae_of_the_untrained_model_learns_from_that_one_and_is_moved_to_the_trained_ones_activations() -> None:
    plan = SaePlan("x", "topk", 2, model="untrained")
    one, other, third = (
        _train(plan, trained=1, untrained=2), _train(plan, trained=3, untrained=2), _train(plan, trained=1, untrained=4)
    )  # fmt: skip
    assert torch.equal(one["W_dec"], other["W_dec"])
    assert not torch.equal(one["W_dec"], third["W_dec"])
    torch.testing.assert_close(one["b_dec"], torch.full((8,), 1.0), atol=0.1, rtol=0)
    torch.testing.assert_close(other["b_dec"], torch.full((8,), 3.0), atol=0.1, rtol=0)


def test_another_training_seed_is_another_sae_and_the_same_one_gives_the_same_weights() -> None:
    first, again, second = (_train(SaePlan("x", "topk", 2, seed=seed), trained=1, untrained=2) for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["W_dec"], second["W_dec"])


@pytest.mark.parametrize("guess", [0.0, 0.5, 5.0])
def test_the_smallest_activation_kept_does_not_depend_on_the_guess(guess: float) -> None:
    acts = torch.relu(torch.randn(20, 30, generator=torch.Generator().manual_seed(0)))
    assert smallest_kept(acts, 3, guess) == float(acts.flatten().sort(descending=True).values[59])
    assert smallest_kept(torch.zeros(4, 5), 3, guess) == 0.0
