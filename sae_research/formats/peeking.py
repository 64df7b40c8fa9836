"""What tensors a file holds, by name and shape, without reading their numbers: formats are recognised by it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

PICKLED = frozenset({".pt", ".pth"})
Shape = tuple[int, ...]


def shapes_in(path: Path) -> Mapping[str, Shape | None]:
    """The entries of a `.pt`, `.pth` or `.safetensors` file, those of a mapping in it as `outer.inner`.

    The shape of what is no tensor is None. Empty if the file is damaged, holds code or is of another kind.
    """
    if path.suffix not in {*PICKLED, ".safetensors"} or not path.is_file():
        return {}
    stat = path.stat()
    return _shapes(path, (stat.st_size, stat.st_mtime_ns))


@lru_cache(maxsize=16)
def _shapes(path: Path, _stamp: tuple[int, int]) -> Mapping[str, Shape | None]:
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt", device="cpu") as file:
                return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        return _entries(_mapped(path))
    except Exception:  # of bytes that anyone may have written the readers raise anything; reading says what is wrong
        return {}


def _mapped(path: Path) -> Any:
    """The content of a pickled file, its numbers left on the disk where the file allows that; no code is run."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError:  # a file from before torch 1.6, which cannot be mapped
        return torch.load(path, map_location="cpu", weights_only=True)


def _entries(content: Any) -> dict[str, Shape | None]:
    if not isinstance(content, Mapping):
        return {}
    entries: dict[str, Shape | None] = {}
    for key, value in content.items():
        if isinstance(value, Mapping):
            entries |= {f"{key}.{inner}": _shape(entry) for inner, entry in value.items()}
        else:
            entries[str(key)] = _shape(value)
    return entries


def _shape(value: Any) -> Shape | None:
    return tuple(value.shape) if isinstance(value, Tensor) else None
