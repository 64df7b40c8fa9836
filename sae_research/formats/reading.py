"""Reads checkpoint files: damage is reported in one message, and code in a pickle is refused, never run."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sae_research.errors import UserError

# What PyTorch's reader raises for a damaged file; OSError if a truncated file makes it seek to before the start.
_DAMAGE = (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, zipfile.BadZipFile, OSError)


@contextmanager
def naming_file(path: Path) -> Iterator[None]:
    """Within the block, any UserError gets the file added to its message."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{error} (file: {path})") from error


def read_json(path: Path, *, sae: str) -> dict[str, Any]:
    """The JSON object in `path`."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"SAE {sae!r}: {path} does not exist; a checkpoint needs it beside the weights") from None
    except ValueError as error:
        raise UserError(f"SAE {sae!r}: {path} is not valid JSON ({error}); fetch it again") from None
    if not isinstance(content, dict):
        raise UserError(f"SAE {sae!r}: {path} holds a {type(content).__name__}, expected a JSON object")
    return content


def required(config: Mapping[str, Any], key: str, kind: type, *, sae: str, path: Path) -> Any:
    """`config[key]`; a UserError if it is missing or not of type `kind`."""
    if key not in config:
        raise UserError(f"SAE {sae!r}: {path} has no {key!r}; it has: {', '.join(map(str, config))}")
    value = config[key]
    if not isinstance(value, kind) or isinstance(value, bool) is not (kind is bool):
        raise UserError(f"SAE {sae!r}: {path}: {key} is {value!r}, expected {kind.__name__}")
    return value


def read_safetensors(path: Path, *, sae: str) -> dict[str, Tensor]:
    """Every tensor of a safetensors file."""
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (the file is not a mapping)
    except FileNotFoundError:
        raise UserError(f"SAE {sae!r}: {path} does not exist; is the checkpoint complete?") from None
    except (SafetensorError, ValueError) as error:
        raise UserError(
            f"SAE {sae!r}: {path} is truncated or not a safetensors file ({error}); delete it and fetch it again"
        ) from None


def read_pickled(path: Path, *, sae: str) -> dict[str, Any]:
    """The dictionary in a `.pt` file, read without running any code that the file may contain."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except FileNotFoundError:
        raise UserError(f"SAE {sae!r}: {path} does not exist; is the checkpoint complete?") from None
    except PermissionError:
        raise
    except _DAMAGE as error:
        raise UserError(f"SAE {sae!r}: {_why_unreadable(path, error)}") from None
    if not isinstance(content, dict):
        raise UserError(
            f"SAE {sae!r}: {path} holds a {type(content).__name__}, expected a dictionary of tensors (a state_dict)"
        )
    return {str(key): value for key, value in content.items()}


def _why_unreadable(path: Path, error: Exception) -> str:
    code = _code_in(path)
    if code:
        return (
            f"{path} holds pickled code ({', '.join(code[:3])}), which is refused and was not run; "
            "save the bare state_dict, or better safetensors"
        )
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return f"{path} is truncated or not a PyTorch checkpoint ({reason}); delete it and fetch it again"


def _code_in(path: Path) -> list[str]:
    """The names that a checkpoint would import beyond tensors; empty if it cannot even be scanned."""
    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except (*_DAMAGE, IndexError):
        return []
