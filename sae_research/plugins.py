"""Plug-ins: modules or folders that are found by their names, in the package and in the folder of SAE_PLUGINS."""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TypeVar

Base = TypeVar("Base")

VARIABLE = "SAE_PLUGINS"
"""Names a folder laid out like the package: `evals/<name>/`, `saes/architectures/<name>.py`,
`formats/readers/<name>.py`, `data/families/<name>.py`. What stands in it is found as if it stood in the package."""


def extended(path: Iterable[str], package: str) -> list[str]:
    """The `__path__` of `package` (`sae_research.evals`) with the same folder of SAE_PLUGINS."""
    root = plugin_root()
    return [*path, *([str(root.joinpath(*package.split(".")[1:]))] if root else [])]


def plugin_root() -> Path | None:
    """The folder of SAE_PLUGINS; None where the variable is not set."""
    folder = os.environ.get(VARIABLE)
    return Path(folder).resolve() if folder else None


def plugin_names(package: ModuleType) -> tuple[str, ...]:
    """The names of the modules in a package that holds plug-ins alone, sorted; none of them is imported."""
    return tuple(sorted({file.stem for file in _entries(package) if file.suffix == ".py" and file.stem != "__init__"}))


def plugin_folders(package: ModuleType, *, with_module: str) -> tuple[str, ...]:
    """The names of the package's folders that hold a module of that name, sorted; none of them is imported."""
    return tuple(sorted({folder.name for folder in _entries(package) if (folder / f"{with_module}.py").is_file()}))


def _entries(package: ModuleType) -> Iterator[Path]:
    for folder in map(Path, package.__path__):
        yield from folder.iterdir() if folder.is_dir() else ()


def only_class(module: str, base: type[Base]) -> type[Base]:
    """The one subclass of `base` that `module` defines."""
    loaded = importlib.import_module(module)
    classes = [value for value in vars(loaded).values() if inspect.isclass(value) and value.__module__ == module]
    return _only([value for value in classes if issubclass(value, base)], module, base)


def only_value(module: str, kind: type[Base]) -> Base:
    """The one value of class `kind` that `module` holds."""
    loaded = importlib.import_module(module)
    return _only([value for value in vars(loaded).values() if isinstance(value, kind)], module, kind)


def _only(candidates: list[Base], module: str, kind: type) -> Base:
    if len(candidates) != 1:
        raise ValueError(f"{module} defines {len(candidates)} of {kind.__name__}, expected 1")
    return candidates[0]
