"""What lies at a path that no format recognises: its files, or the entries and shapes in it, a few of them."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

from sae_research.foreign import shown
from sae_research.formats.peeking import shapes_in

_MOST = 8
_LARGEST_JSON = 2**20
_FOLDERS_LOOKED_INTO = 1000


def what_is_at(path: Path) -> str:
    """In a few words, for a message."""
    if path.is_dir():
        entries = sorted(islice(path.iterdir(), _FOLDERS_LOOKED_INTO))
        return f"the folder holds {_listed([_entry(entry) for entry in entries])}"
    if not path.exists():
        return "there is nothing there"
    shapes = shapes_in(path)
    if shapes:
        return f"the file holds {_listed([f'{key} {_size(shape)}' for key, shape in shapes.items()])}"
    return f"the file, of {path.stat().st_size} bytes, shows no tensors" + _keys(path)


def _entry(path: Path) -> str:
    return f"{path.name}/" if path.is_dir() else path.name + _keys(path)


def _keys(path: Path) -> str:
    """The keys of a small JSON object in brackets; empty for anything else."""
    try:
        content: Any = json.loads(path.read_bytes()) if path.suffix == ".json" and _is_small(path) else None
    except (OSError, ValueError, RecursionError):
        return ""
    return f" ({_listed([str(key) for key in content])})" if isinstance(content, dict) and content else ""


def _is_small(path: Path) -> bool:
    return path.is_file() and path.stat().st_size <= _LARGEST_JSON


def _size(shape: tuple[int, ...] | None) -> str:
    return "(no tensor)" if shape is None else "x".join(map(str, shape)) or "(a number)"


def _listed(names: list[str]) -> str:
    rest = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return (
        ", ".join(name if name.isprintable() and len(name) < 200 else shown(name) for name in names[:_MOST]) + rest
    ) or "nothing"
