"""Plug-ins: modules and folders that are found by their names, in the package and in the folder of SAE_PLUGINS."""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from sae_research.errors import UserError

Base = TypeVar("Base")

VARIABLE = "SAE_PLUGINS"
"""Names a folder laid out like the package: `evals/<name>/`, `saes/architectures/<name>.py`,
`formats/readers/<name>.py`, `data/families/<name>.py`, `judges/providers/<name>.py`. What is in it is found as if it
were in the package."""


def extended(path: Iterable[str], package: str) -> list[str]:
    """The `__path__` of `package` (`sae_research.evals`) with the same folder of SAE_PLUGINS."""
    root = plugin_root()
    return [*path, *([str(root.joinpath(*package.split(".")[1:]))] if root else [])]


def plugin_root() -> Path | None:
    """The folder of SAE_PLUGINS; None where the variable is not set."""
    name = os.environ.get(VARIABLE)
    if not name:
        return None
    folder = Path(name).resolve()
    if not folder.is_dir():
        raise UserError(f"{VARIABLE} is {name!r}, and there is no such folder; correct it, or unset it")
    return folder


def plugin_names(package: ModuleType) -> tuple[str, ...]:
    """The names of the modules in a package that holds plug-ins alone, sorted; none of them is imported."""
    return _names(package, lambda path: path.suffix == ".py" and path.stem != "__init__")


def plugin_folders(package: ModuleType, *, with_module: str) -> tuple[str, ...]:
    """The names of the package's folders that hold a module of that name, sorted; none of them is imported."""
    return _names(package, lambda path: (path / f"{with_module}.py").is_file())


def _names(package: ModuleType, is_plugin: Callable[[Path], bool]) -> tuple[str, ...]:
    names: dict[str, Path] = {}
    for folder in filter(Path.is_dir, map(Path, package.__path__)):
        for path in filter(is_plugin, folder.iterdir()):
            if path.stem in names:
                raise UserError(f"{path}: the name {path.stem!r} is taken by {names[path.stem]}; rename the plug-in")
            names[path.stem] = path
    return tuple(sorted(names))


def only_class(module: str, base: type[Base]) -> type[Base]:
    """The one subclass of `base` that `module` defines, abstract ones aside."""
    values = vars(importlib.import_module(module)).values()
    classes = [value for value in values if inspect.isclass(value) and value.__module__ == module]
    return _only([c for c in classes if issubclass(c, base) and not inspect.isabstract(c)], module, base)


def only_value(module: str, kind: type[Base]) -> Base:
    """The one value of class `kind` that `module` holds."""
    values = vars(importlib.import_module(module)).values()
    return _only([value for value in values if isinstance(value, kind)], module, kind)


def _only(candidates: list[Base], module: str, kind: type) -> Base:
    if len(candidates) != 1:
        raise UserError(f"{module} defines {len(candidates)} of {kind.__name__}, expected 1")
    return candidates[0]
