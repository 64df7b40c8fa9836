"""Activations kept on disk between runs: keyed by content, capped in size, safe to delete at any time."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from sae_research.code_version import code_version
from sae_research.digests import digest_of
from sae_research.files import write_atomically

log = logging.getLogger(__name__)

_COMPUTED_BY = "sae_research.lm.load"
"""The module from which all code that shapes an activation is reached."""
_LIBRARIES = ("torch", "transformers")


class ActivationCache:
    """Tensors under `folder`, at most `max_bytes` of them: the least recently used go first.

    A key holds the code and the libraries that compute activations. Where SAE_NO_REUSE is set nothing is read.
    """

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._made_by = [code_version(_COMPUTED_BY), *(metadata.version(name) for name in _LIBRARIES)]

    def get_or_compute(self, parts: object, tokens: Tensor, compute: Callable[[], Tensor]) -> Tensor:
        """The tensor that `compute` gives for `parts` (all that determines it beside `tokens`, code and libraries)."""
        key = digest_of([self._made_by, parts, tokens.tolist()])
        path = self._folder / key[:2] / f"{key}.safetensors"
        stored = None if os.environ.get("SAE_NO_REUSE") else _read(path, key)
        if stored is not None:
            os.utime(path)
            return stored.to(tokens.device)
        x = compute()
        size = x.numel() * x.element_size()
        if size <= self._max_bytes:
            self._make_room(size)
            copy = x.detach().to("cpu", copy=True).contiguous()
            write_atomically(path, save({"x": copy}, metadata={"sha256": _digest(key, copy)}))
        return x

    def _make_room(self, size: int) -> None:
        files = [(path.stat(), path) for path in self._folder.glob("*/*.safetensors")]
        held = sum(stat.st_size for stat, _ in files)
        for stat, path in sorted(files, key=lambda entry: entry[0].st_mtime_ns):
            if held + size <= self._max_bytes:
                return
            path.unlink(missing_ok=True)
            held -= stat.st_size


def _read(path: Path, key: str) -> Tensor | None:
    """The tensor of that key, or None where there is none or the file is damaged."""
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            x, promised = file.get_tensor("x"), (file.metadata() or {}).get("sha256")
    except FileNotFoundError:
        return None
    except SafetensorError:
        x = promised = None
    if x is None or _digest(key, x) != promised:
        log.warning("%s is damaged; its activations are computed again", path)
        return None
    return x


def _digest(key: str, x: Tensor) -> str:
    """The SHA-256 over key, type, shape and bytes of `x`, which is contiguous and on the CPU."""
    digest = hashlib.sha256(f"{key} {x.dtype} {tuple(x.shape)}".encode())
    digest.update(x.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
