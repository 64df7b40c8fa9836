"""What the system says about free memory."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sae_research.device_memory import _free_in_machine, elements_at_once, free_memory


def test_a_tensor_fits_into_what_is_free_and_is_gone_from_it() -> None:
    before = free_memory(torch.device("cpu"))
    held = torch.ones(2**27)
    assert before - free_memory(torch.device("cpu")) > held.nbytes / 2


@pytest.mark.parametrize(
    ("meminfo", "limit", "expected"),
    [
        ("MemTotal: 9 kB\nMemAvailable:   5 kB\n", None, 5 * 1024),
        ("MemTotal: 9 kB\nMemAvailable:   5 kB\n", "max", 5 * 1024),
        ("MemTotal: 9 kB\nMemAvailable:   5 kB\n", "3000", 3000 - 1500 + 500),
        ("MemTotal: 9 kB\nMemAvailable:   5 kB\n", "800", 0),
        ("MemTotal: 9 kB\n", "3000", 3000 - 1500 + 500),
        ("", None, 16 * 2**30),
    ],
)
def test_the_machine_or_its_container(tmp_path: Path, meminfo: str, limit: str | None, expected: int) -> None:
    (tmp_path / "meminfo").write_text(meminfo)
    if limit is not None:
        (tmp_path / "memory.max").write_text(f"{limit}\n")
        (tmp_path / "memory.current").write_text("1500\n")
        (tmp_path / "memory.stat").write_text("anon 900\ninactive_file 500\n")
    assert _free_in_machine(tmp_path / "meminfo", tmp_path) == expected


def test_a_gpu_gets_more_at_once_than_a_processor() -> None:
    assert elements_at_once(torch.device("cpu"), on_cpu=100) == 100
    assert elements_at_once(torch.device("cuda"), on_cpu=100) == 2**26
    assert elements_at_once(torch.device("cuda"), on_cpu=2**30) == 2**30


@pytest.mark.gpu
def test_memory_that_torch_keeps_for_later_is_free() -> None:
    device = torch.device("cuda")
    held = torch.ones(2**28, device=device)
    with_it = free_memory(device)
    size = held.nbytes
    del held
    assert free_memory(device) - with_it >= size
