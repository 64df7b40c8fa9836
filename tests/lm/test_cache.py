from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sae_research.lm.cache import ActivationCache

TOKENS = torch.tensor([[1, 2, 3]])


class Counted:
    """Random activations of 4 KiB, counting how often they are computed."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> Tensor:
        self.times += 1
        return torch.randn(1024, generator=torch.Generator().manual_seed(self.times))


def test_the_same_parts_and_tokens_are_computed_once(tmp_path: Path) -> None:
    cache, compute = ActivationCache(tmp_path, max_bytes=2**20), Counted()
    first = cache.get_or_compute(["lm", "site"], TOKENS, compute)
    assert torch.equal(cache.get_or_compute(["lm", "site"], TOKENS, compute), first)
    assert compute.times == 1
    cache.get_or_compute(["lm", "other site"], TOKENS, compute)
    cache.get_or_compute(["lm", "site"], TOKENS + 1, compute)
    assert compute.times == 3


def test_a_damaged_file_is_written_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache, compute = ActivationCache(tmp_path, max_bytes=2**20), Counted()
    cache.get_or_compute("a", TOKENS, compute)
    [path] = tmp_path.glob("*/*")
    path.write_bytes(path.read_bytes()[:50])
    cache.get_or_compute("a", TOKENS, compute)
    cache.get_or_compute("a", TOKENS, compute)
    assert compute.times == 2
    assert "damaged" in caplog.text


def test_the_least_recently_used_go_first_and_the_cap_holds(tmp_path: Path) -> None:
    cache, compute = ActivationCache(tmp_path, max_bytes=3 * 4096 + 600), Counted()
    for number, name in enumerate("abc"):
        cache.get_or_compute(name, TOKENS, compute)
        for path in tmp_path.glob("*/*"):
            if path.stat().st_mtime > 10**6:
                os.utime(path, (number, number))
    cache.get_or_compute("a", TOKENS, compute)
    cache.get_or_compute("d", TOKENS, compute)
    assert compute.times == 4
    cache.get_or_compute("a", TOKENS, compute)
    assert compute.times == 4
    cache.get_or_compute("b", TOKENS, compute)
    assert compute.times == 5
    assert sum(path.stat().st_size for path in tmp_path.glob("*/*")) <= 3 * 4096 + 600
