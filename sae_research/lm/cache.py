"""Activations kept on disk between runs: keyed by content, capped in size, safe to delete at any time."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from sae_research.digests import digest_of
from sae_research.files import write_atomically

log = logging.getLogger(__name__)


class ActivationCache:
    """Tensors under `folder`, at most `max_bytes` of them: the least recently used go first."""

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes

    def get_or_compute(self, parts: object, tokens: Tensor, compute: Callable[[], Tensor]) -> Tensor:
        """The tensor that `compute` gives for `parts` (all that determines it beside `tokens`)."""
        key = digest_of([parts, tokens.tolist()])
        path = self._folder / key[:2] / f"{key}.safetensors"
        try:
            found = load_file(path, device=str(tokens.device))["x"]
            os.utime(path)
            return found
        except FileNotFoundError:
            pass
        except (SafetensorError, KeyError):
            log.warning("%s is damaged and is written again", path)
        x = compute()
        size = x.numel() * x.element_size()
        if size <= self._max_bytes:
            self._make_room(size)
            write_atomically(path, save({"x": x.detach().to("cpu", copy=True).contiguous()}))
        return x

    def _make_room(self, size: int) -> None:
        files = [(path.stat(), path) for path in self._folder.glob("*/*.safetensors")]
        held = sum(stat.st_size for stat, _ in files)
        for stat, path in sorted(files, key=lambda entry: entry[0].st_mtime_ns):
            if held + size <= self._max_bytes:
                return
            path.unlink(missing_ok=True)
            held -= stat.st_size
