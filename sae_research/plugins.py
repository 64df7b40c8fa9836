"""Plug-ins: one file each, the file's name being the plug-in's name."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Collection
from pathlib import Path
from typing import TypeVar

Base = TypeVar("Base")


def plugin_names(folder: Path, *, others: Collection[str]) -> tuple[str, ...]:
    """The names of the modules in `folder` but for `others`, sorted; none of them is imported."""
    return tuple(sorted(path.stem for path in folder.glob("*.py") if path.stem not in {"__init__", *others}))


def only_class(module: str, base: type[Base]) -> type[Base]:
    """The one subclass of `base` that `module` defines."""
    loaded = importlib.import_module(module)
    classes = [value for value in vars(loaded).values() if inspect.isclass(value) and value.__module__ == module]
    found = [value for value in classes if issubclass(value, base)]
    if len(found) != 1:
        raise ValueError(f"{module} defines {len(found)} {base.__name__} classes, expected 1")
    return found[0]
