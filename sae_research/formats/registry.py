"""Which checkpoint formats there are: one file each in `sae_research/formats/readers/`.

A format offers `recognises(path)`, `read(path, name=..., source=...)` and `companions(filename)`, the other files of
the repository that its reader needs besides `filename`. It may offer `short_name(filename)`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, cast

from sae_research.errors import UserError
from sae_research.foreign import reading
from sae_research.formats import readers
from sae_research.formats.stated import completed
from sae_research.plugins import plugin_names
from sae_research.saes.base import Sae


class Format(Protocol):
    """What each module of `sae_research/formats/readers/` offers."""

    def recognises(self, path: Path) -> bool:
        """Whether the file or folder at `path` is in this format."""
        ...

    def companions(self, filename: str) -> tuple[str, ...]:
        """Other files of the repository that are needed to read `filename`."""
        ...

    def read(self, path: Path, *, name: str, source: Mapping[str, Any]) -> Sae:
        """The SAE at `path`, called `name`."""
        ...


def format_names() -> tuple[str, ...]:
    """The names of all formats."""
    return plugin_names(readers)


def find_format(name: str) -> Format:
    """The format of that name."""
    return cast(Format, importlib.import_module(f"sae_research.formats.readers.{name}"))


def read_sae(path: Path, *, name: str, source: Mapping[str, Any]) -> Sae:
    """The SAE at `path`, in whichever format it is.

    `source` may state what the files do not say: `hook_name`, `model_name`, `k` (`formats/stated.py`).
    """
    for format_name in format_names():
        checkpoint_format = find_format(format_name)
        if checkpoint_format.recognises(path):
            with reading(path, remedy=f"is it damaged, or not in the format {format_name}?"):
                sae = checkpoint_format.read(path, name=name, source={**source, "format": format_name})
                sae.card = completed(sae.card, source)
                return sae
    raise UserError(
        f"SAE {name!r}: {path} is not in a known format; known: {', '.join(format_names())} "
        "(saelens: a folder with cfg.json and sae_weights.safetensors; dictionary_learning: ae.pt with config.json)"
    )


def companions_of(filename: str) -> tuple[str, ...]:
    """The files that any format would read beside `filename`."""
    return tuple(other for name in format_names() for other in find_format(name).companions(filename))


def short_name_of(filename: str) -> str:
    """What tells a checkpoint from its neighbours in a repository; empty if nothing in its path does.

    The last part of its path, unless a format that knows better offers a function `short_name(filename)`.
    """
    functions = (vars(find_format(name)).get("short_name") for name in format_names())
    names = (function(filename) for function in functions if function is not None)
    return next((name for name in names if name is not None), PurePosixPath(filename).name)
