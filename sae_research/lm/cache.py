"""Activations kept on disk between runs: keyed by content, capped in size, safe to delete at any time."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from torch import Tensor

from sae_research.code_version import code_version
from sae_research.digests import digest_of
from sae_research.tensor_files import read_tensors, write_tensors

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
        stored = None if os.environ.get("SAE_NO_REUSE") else read_tensors(path, key)
        if stored is not None:
            with suppress(FileNotFoundError):
                os.utime(path)
            return stored["x"].to(tokens.device)
        x = compute()
        size = x.numel() * x.element_size()
        if size <= self._max_bytes:
            self._make_room(size)
            write_tensors(path, key, {"x": x})
        return x

    def _make_room(self, size: int) -> None:
        files: list[tuple[os.stat_result, Path]] = []
        for path in self._folder.glob("*/*.safetensors"):
            # Another process may make room at the same time.
            with suppress(FileNotFoundError):
                files.append((path.stat(), path))
        held = sum(stat.st_size for stat, _ in files)
        for stat, path in sorted(files, key=lambda entry: entry[0].st_mtime_ns):
            if held + size <= self._max_bytes:
                return
            path.unlink(missing_ok=True)
            held -= stat.st_size
