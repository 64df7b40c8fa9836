"""Statistics of weights by hand."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
import torch

from sae_research.evals.core.weights import describe_weights, largest_cosines, tile_rows


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


def test_tiles_of_cosines_change_nothing() -> None:
    rows = torch.randn(11, 5, generator=torch.Generator().manual_seed(0))
    units = rows.double() / rows.double().norm(dim=1, keepdim=True)
    by_hand = (units @ units.T - 3 * torch.eye(11)).amax(dim=1)
    for budget in (1, 4 * (3 * 3 + 4 * 3 * 5), 2**20):
        torch.testing.assert_close(largest_cosines(rows, budget=budget).double(), by_hand, rtol=0, atol=1e-6)


@pytest.mark.parametrize("width", [5, 4096])
@pytest.mark.parametrize("budget", [2**20, 2**28])
def test_a_tile_and_its_rows_fit_into_the_budget(width: int, budget: int) -> None:
    rows = tile_rows(width, budget)
    assert 4 * (rows**2 + 4 * rows * width) <= budget
    assert rows == 2**13 or 4 * ((rows + 1) ** 2 + 4 * (rows + 1) * width) > budget


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from /proc")
def test_many_latents_take_bounded_memory() -> None:
    rows = torch.randn(2**14, 16, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    largest_cosines(rows[:8], budget=2**22)
    before = _peak(reset=True)
    largest = largest_cosines(rows, budget=2**22)
    # All cosines at once would take 1 GiB.
    assert _peak() - before < 2**24
    sample = torch.nn.functional.normalize(rows.double(), dim=1)
    cosines = sample[:50] @ sample.T
    cosines[torch.arange(50), torch.arange(50)] = -1
    torch.testing.assert_close(largest[:50].double(), cosines.amax(dim=1), rtol=0, atol=1e-6)


def _peak(*, reset: bool = False) -> int:
    """The most memory that this process has held, in bytes; `reset` starts again from what it holds now."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def test_a_lone_latent_has_no_neighbour() -> None:
    assert largest_cosines(torch.ones(1, 1)).item() == -math.inf
