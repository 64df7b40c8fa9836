"""Tensors on disk under a key: written whole, and read only if key and bytes are those that were written."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from sae_research.files import write_atomically

log = logging.getLogger(__name__)


def write_tensors(path: Path, key: str, tensors: Mapping[str, Tensor]) -> None:
    """Writes `tensors` to `path`, with a digest over `key` and all of them."""
    copies = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    write_atomically(path, save(copies, metadata={"sha256": _digest(key, copies)}))


def read_tensors(path: Path, key: str) -> dict[str, Tensor] | None:
    """The tensors that were written to `path` under `key`; None where there is no file, or a damaged one."""
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (the file is not a mapping)
            promised = (file.metadata() or {}).get("sha256")
    except FileNotFoundError:
        return None
    except SafetensorError:
        tensors, promised = {}, None
    if promised is None or _digest(key, tensors) != promised:
        log.warning("%s is damaged; what it held is computed again", path)
        return None
    return tensors


def _digest(key: str, tensors: Mapping[str, Tensor]) -> str:
    """The SHA-256 over key, names, types, shapes and bytes of tensors that are contiguous and on the CPU."""
    digest = hashlib.sha256(key.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f" {name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
