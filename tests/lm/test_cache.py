"""Activations on disk: what their key holds, how damage is noticed, and how much room they take."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sae_research.lm.cache import ActivationCache
from sae_research.lm.load import load_language_model
from sae_research.lm.site import Site
from sae_research.sources.hub import Hub

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


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "bit of a value", "bit of the shape", "another's file"])
def test_a_damaged_file_is_computed_again_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    cache, compute = ActivationCache(tmp_path, max_bytes=2**20), Counted()
    cache.get_or_compute("a", TOKENS, compute)
    [path] = tmp_path.glob("*/*")
    whole = path.read_bytes()
    if damage == "another's file":
        cache.get_or_compute("b", TOKENS, compute)
        [other] = set(tmp_path.glob("*/*")) - {path}
        whole = other.read_bytes()
    spoilt = {
        "cut": whole[:50],
        "empty": b"",
        "text": b"<html>",
        "bit of a value": whole[:-1] + bytes([whole[-1] ^ 1]),
        "bit of the shape": whole.replace(b"[1024]", b"[512,2]"),
        "another's file": whole,
    }
    path.write_bytes(spoilt[damage])
    before = compute.times
    again = cache.get_or_compute("a", TOKENS, compute)
    assert compute.times == before + 1
    assert str(path) in caplog.text and "damaged" in caplog.text
    assert torch.equal(cache.get_or_compute("a", TOKENS, compute), again)
    assert compute.times == before + 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_what_is_read_back_is_what_was_computed_bit_for_bit(tmp_path: Path, dtype: torch.dtype) -> None:
    x = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0)).to(dtype).transpose(1, 2)
    cache = ActivationCache(tmp_path, max_bytes=2**20)
    cache.get_or_compute("a", TOKENS, lambda: x)
    assert torch.equal(cache.get_or_compute("a", TOKENS, lambda: x + 1), x)


@pytest.mark.parametrize(
    ("target", "change"),
    [
        ("sae_research.lm.cache.code_version", lambda *_: "other code"),
        ("importlib.metadata.version", lambda name: "9.9" if name == "torch" else "5.0"),
        ("importlib.metadata.version", lambda name: "9.9" if name == "transformers" else "2.0"),
    ],
    ids=["code", "torch", "transformers"],
)
def test_other_code_and_other_libraries_compute_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, change: Callable[[str], str]
) -> None:
    monkeypatch.setattr("importlib.metadata.version", {"torch": "2.0", "transformers": "5.0"}.__getitem__)
    compute = Counted()

    def in_a_new_process() -> int:
        ActivationCache(tmp_path, max_bytes=2**20).get_or_compute("a", TOKENS, compute)
        return compute.times

    assert (in_a_new_process(), in_a_new_process()) == (1, 1)
    monkeypatch.setattr(target, change)
    assert in_a_new_process() == 2


def test_without_reuse_nothing_is_read_and_the_new_takes_the_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, compute = ActivationCache(tmp_path, max_bytes=2**20), Counted()
    first = cache.get_or_compute("a", TOKENS, compute)
    monkeypatch.setenv("SAE_NO_REUSE", "1")
    second = cache.get_or_compute("a", TOKENS, compute)
    monkeypatch.delenv("SAE_NO_REUSE")
    assert not torch.equal(first, second)
    assert torch.equal(cache.get_or_compute("a", TOKENS, compute), second)
    assert compute.times == 2


def test_a_model_is_checked_without_the_cache_and_captures_through_it(
    model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    cache = ActivationCache(tmp_path, max_bytes=2**20)
    lm = load_language_model(Hub(tmp_path), str(model_folder("neox")), device="cpu", cache=cache)
    assert list(tmp_path.rglob("*.safetensors")) == []
    x = lm.capture(TOKENS, Site(1, "resid_post"))
    [path] = tmp_path.rglob("*.safetensors")
    kept = path.stat().st_mtime_ns
    os.utime(path, (1, 1))
    assert torch.equal(lm.capture(TOKENS, Site(1, "resid_post")), x)
    assert path.stat().st_mtime_ns >= kept


def test_the_least_recently_used_go_first_and_the_cap_holds(tmp_path: Path) -> None:
    cache, compute = ActivationCache(tmp_path, max_bytes=3 * 4096 + 900), Counted()
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
    assert sum(path.stat().st_size for path in tmp_path.glob("*/*")) <= 3 * 4096 + 900
