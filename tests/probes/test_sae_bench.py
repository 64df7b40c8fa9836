"""SAEBench's probes against torch's own modules and optimiser on the same random stream."""

from __future__ import annotations

import copy

import torch

from sae_research.probes.sae_bench import (
    DrawnRows,
    SaeBenchRecipe,
    draw_one_against_rest,
    draw_start,
    draw_two_sides,
    fit_as_sae_bench,
)

RECIPE = SaeBenchRecipe(epochs=4, batch_size=8)


def test_both_sides_are_drawn_once_each() -> None:
    drawn = draw_two_sides(torch.arange(5), torch.arange(10, 20), torch.Generator().manual_seed(0))
    assert sorted(drawn.rows[drawn.positive].tolist()) == [0, 1, 2, 3, 4]
    others = drawn.rows[~drawn.positive].tolist()
    assert len(others) == len(set(others)) == 5
    assert min(others) >= 10


def test_the_other_classes_share_evenly() -> None:
    classes = {name: torch.arange(9) + 100 * i for i, name in enumerate("abcd")}
    drawn = draw_one_against_rest(classes, "b", torch.Generator().manual_seed(0))
    owners = (drawn.rows[~drawn.positive] // 100).tolist()
    assert [owners.count(i) for i in range(4)] == [3, 0, 3, 3]
    assert sorted(drawn.rows[drawn.positive].tolist()) == list(range(100, 109))


def test_probes_are_those_of_torch() -> None:
    """A Linear trained by AdamW with autograd, its first best epoch kept, from torch's global stream."""
    data = torch.Generator().manual_seed(1)
    x, asked = torch.randn(40, 6, generator=data), torch.randn(31, 6, generator=data)
    positive, wanted = x[:, 0] + x[:, 1] > 0, asked[:, 0] + 0.5 * torch.randn(31, generator=data) > 0
    train, test = DrawnRows(torch.arange(40), positive), DrawnRows(torch.arange(31), wanted)
    expected = []
    torch.manual_seed(5)
    with torch.enable_grad():
        for _ in range(2):
            expected.append(_trained(x, positive, asked, wanted))
    stream = torch.Generator().manual_seed(5)
    starts = [draw_start(train, test, 6, RECIPE, stream) for _ in range(2)]
    probes = fit_as_sae_bench(x, asked, starts, RECIPE)
    for i, linear in enumerate(expected):
        torch.testing.assert_close(probes.weights[i], linear.weight[0].detach(), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(probes.biases[i], linear.bias[0].detach(), rtol=1e-5, atol=1e-6)


def _trained(x: torch.Tensor, positive: torch.Tensor, asked: torch.Tensor, wanted: torch.Tensor) -> torch.nn.Linear:
    linear = torch.nn.Linear(6, 1)
    optimizer = torch.optim.AdamW(linear.parameters(), lr=RECIPE.rate)
    best, kept = 0.0, linear
    for _ in range(RECIPE.epochs):
        for batch in torch.randperm(40).split(RECIPE.batch_size):
            scores = linear(x[batch])[:, 0]
            loss = torch.nn.functional.binary_cross_entropy_with_logits(scores, positive[batch].float())
            optimizer.zero_grad()
            (loss + RECIPE.l1 * linear.weight.abs().sum()).backward()
            optimizer.step()
        accuracy = float(((linear(asked)[:, 0] > 0) == wanted).float().mean())
        if accuracy > best:
            best = accuracy
            kept = copy.deepcopy(linear)
    return kept
