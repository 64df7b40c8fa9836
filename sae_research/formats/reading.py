"""Reads checkpoint files: damage is reported in one message, and code in a pickle is refused, never run."""

from __future__ import annotations

import math
import pickletools
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sae_research.errors import UserError
from sae_research.foreign import LONGEST, read_json_object, shown

_HEAD = 512
"""Bytes that tell what a file is."""
_NAMES_SHOWN = 3


@contextmanager
def naming_file(path: Path) -> Iterator[None]:
    """Within the block, any UserError gets the file added to its message."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{error} (file: {path})") from error


def read_json(path: Path, *, sae: str) -> dict[str, Any]:
    """The JSON object in `path`."""
    if not path.exists():
        raise UserError(f"SAE {sae!r}: {path} does not exist; a checkpoint needs it beside the weights")
    try:
        return read_json_object(path, remedy="fetch it again")
    except UserError as error:
        raise UserError(f"SAE {sae!r}: {error}") from error


def required(config: Mapping[str, Any], key: str, kind: type, *, sae: str, path: Path) -> Any:
    """`config[key]`; a UserError if it is missing or not of type `kind`."""
    if key not in config:
        raise UserError(f"SAE {sae!r}: {path} has no {key!r}; it has: {shown(', '.join(map(str, config)))}")
    value = config[key]
    if not isinstance(value, kind) or isinstance(value, bool) is not (kind is bool):
        raise UserError(f"SAE {sae!r}: {path}: {key} is {shown(value)}, expected {kind.__name__}")
    return value


def optional(config: Mapping[str, Any], key: str, kind: type, *, sae: str, path: Path) -> Any:
    """`config[key]`, None if it is missing or null; a UserError if it is not of type `kind`."""
    return None if config.get(key) is None else required(config, key, kind, sae=sae, path=path)


def printable(config: Mapping[str, Any], key: str, *, sae: str, path: Path) -> str | None:
    """`config[key]`, a text that a log and a table can show; None if it is missing or null."""
    text = optional(config, key, str, sae=sae, path=path)
    if text is not None and not (text.isprintable() and len(text) <= LONGEST and not {"<", ">"} & set(text)):
        raise UserError(
            f"SAE {sae!r}: {path}: {key} is {shown(text)}, expected at most {LONGEST} letters that can be printed, "
            "without < and >"
        )
    return text


def require_floats(tensors: Mapping[str, Tensor], *, sae: str) -> None:
    """Raises a UserError unless all tensors are of floats: to take codes of a quantisation for weights is wrong."""
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise UserError(
                f"SAE {sae!r}: {name} is of {tensor.dtype}, expected floats; save the weights in float32 (or float16, "
                "bfloat16)"
            )


def read_safetensors(path: Path, *, sae: str) -> dict[str, Tensor]:
    """Every tensor of a safetensors file."""
    _refuse_stand_in(path, sae)
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (the file is not a mapping)
    except (SafetensorError, ValueError) as error:
        raise UserError(
            f"SAE {sae!r}: {path} is truncated or not a safetensors file ({error}); delete it and fetch it again"
        ) from None


def read_npz(path: Path, *, sae: str) -> dict[str, Tensor]:
    """Every array of an `.npz` archive as a tensor; arrays of pickled objects are refused, never read."""
    _refuse_stand_in(path, sae)
    try:
        with zipfile.ZipFile(path) as archive:
            for record in archive.infolist():
                _require_whole_array(archive, record, path, sae)
        with np.load(path, allow_pickle=False) as arrays:
            return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    except (UserError, PermissionError):
        raise
    except Exception as error:  # of bytes that anyone may have written the readers raise anything
        raise UserError(
            f"SAE {sae!r}: {path} is truncated or not an npz archive of numbers ({type(error).__name__}: "
            f"{str(error).partition(chr(10))[0]}); delete it and fetch it again"
        ) from None


def _require_whole_array(archive: zipfile.ZipFile, record: zipfile.ZipInfo, path: Path, sae: str) -> None:
    """Fails on an array whose header claims more numbers than follow it: numpy would make room for them first."""
    with archive.open(record) as file:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(file)
        held = record.file_size - file.tell()
    if dtype.hasobject:
        raise UserError(
            f"SAE {sae!r}: {path}: {record.filename} holds pickled objects, which are refused and were not read; save "
            "arrays of numbers"
        )
    if math.prod(shape) * dtype.itemsize != held:
        raise UserError(
            f"SAE {sae!r}: {path}: {record.filename} of shape {shape} holds {held} bytes, expected "
            f"{math.prod(shape) * dtype.itemsize}; the file is damaged: fetch it again"
        )


def read_pickled(path: Path, *, sae: str) -> dict[str, Any]:
    """The dictionary in a `.pt` file, its tensors dense, read without running any code that it may contain."""
    _refuse_stand_in(path, sae)
    try:
        _verify_checksums(path, sae)
        # Not mapped: torch then compares the length of each record with its tensor's, and reads compressed ones.
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=False)
    except (UserError, PermissionError):
        raise
    except Exception as error:  # of bytes that anyone may have written the readers raise anything
        raise UserError(f"SAE {sae!r}: {path} {_why_unreadable(path, error)}") from None
    if not isinstance(content, dict):
        raise UserError(
            f"SAE {sae!r}: {path} holds a {type(content).__name__}, expected a dictionary of tensors (a state_dict)"
        )
    _require_dense_tensors(content, path, sae)
    return {str(key): value for key, value in content.items()}


def _refuse_stand_in(path: Path, sae: str) -> None:
    """Fails where there is no file, or what lies there is known to stand for one that was not fetched."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD).lstrip().lower()
    except FileNotFoundError:
        raise UserError(f"SAE {sae!r}: {path} does not exist; is the checkpoint complete?") from None
    if head.startswith(b"version https://git-lfs"):
        raise UserError(
            f"SAE {sae!r}: {path} is a git-LFS pointer and not the file that it stands for; "
            "run `git lfs pull` where it was cloned, or fetch it again"
        )
    if head.startswith((b"<!doctype", b"<html")):
        raise UserError(
            f"SAE {sae!r}: {path} is a web page; it came from another address than the file's: fetch it again"
        )


def _verify_checksums(path: Path, sae: str) -> None:
    """Fails on a record of a zip archive whose bytes have another checksum than it says.

    A file that was saved without checksums (torch.serialization.set_crc32_options) has 0 for every one of them.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        has_checksums = any(record.CRC for record in archive.infolist())
        damaged = archive.testzip() if has_checksums else None
    if damaged:
        raise UserError(
            f"SAE {sae!r}: {path} is damaged: {damaged} has another checksum than the file says; fetch it again"
        )


def _require_dense_tensors(content: Mapping[Any, Any], path: Path, sae: str) -> None:
    """Fails on a tensor, however deep, that is not held number by number: it would take any amount of memory."""
    waiting: list[tuple[str, Any]] = [(str(key), value) for key, value in content.items()]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, Mapping):
            waiting.extend((f"{name}.{key}", entry) for key, entry in value.items())
        elif isinstance(value, Tensor):
            flaw = _flaw(value)
            if flaw is not None:
                raise UserError(f"SAE {sae!r}: {path}: {name} {flaw}; save it as a dense tensor, `.contiguous()`")


def _flaw(tensor: Tensor) -> str | None:
    if tensor.layout != torch.strided:
        return f"is a {str(tensor.layout).removeprefix('torch.')} tensor"
    if tensor.is_quantized or tensor.is_meta:
        return f"is a {'quantised' if tensor.is_quantized else 'meta'} tensor"
    size, held = tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes()
    if held < size:
        return f"of shape {tuple(tensor.shape)} holds {held} bytes of {size}: it is an expanded view"
    return None


def _why_unreadable(path: Path, error: Exception) -> str:
    code = _code_in(path)
    if code:
        return (
            f"holds pickled code ({', '.join(code[:_NAMES_SHOWN])}), which is refused and was not run; "
            "save the bare state_dict, or better safetensors"
        )
    if path.stat().st_size == 0:
        reason = " (it is empty)"
    elif "weights_only" in str(error):
        reason = ""  # PyTorch would have the user run what the file says
    else:
        reason = f" ({type(error).__name__}: {str(error).partition(chr(10))[0]})"
    return f"is truncated or not a PyTorch checkpoint{reason}; delete it and fetch it again"


def _code_in(path: Path) -> list[str]:
    """The names that a checkpoint or bare pickle would import beyond tensors; empty if it cannot be scanned."""
    try:
        if zipfile.is_zipfile(path):
            return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
        return _imports(path.read_bytes())
    except Exception:  # a second look at a file that could not be read
        return []


def _imports(pickled: bytes) -> list[str]:
    """What a bare pickle names as `module.name`, in order."""
    names: list[str] = []
    texts: list[str] = []
    for operation, argument, _ in pickletools.genops(pickled):
        if operation.name in ("GLOBAL", "INST"):
            names.append(str(argument).replace(" ", "."))
        elif operation.name == "STACK_GLOBAL":
            names.append(".".join(texts[-2:]))
        elif isinstance(argument, str):
            texts.append(argument)
    return names
