"""Which checkpoint formats there are: one file each in `sae_research/formats/readers/`.

A format offers `recognises(path)`, `read(path, name=..., source=...)` and `companions(filename)`, the other files of
the repository that its reader looks at besides `filename`. It may offer `short_name(filename)`, and where a file can
hold several SAEs `members(path, sae=...)`: for each what picks it, which `read` then gets in `source`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, cast

from sae_research.errors import UserError
from sae_research.foreign import reading, shown
from sae_research.formats import readers
from sae_research.formats.peeking import PICKLED, shapes_in
from sae_research.formats.reading import read_pickled
from sae_research.formats.seen import what_is_at
from sae_research.formats.stated import completed
from sae_research.lm.site import Site
from sae_research.plugins import plugin_names
from sae_research.saes.base import Sae

_SUFFIXES = (".sae.pt", ".pt", ".pth", ".safetensors", ".npz")


class Format(Protocol):
    """What each module of `sae_research/formats/readers/` offers."""

    def recognises(self, path: Path) -> bool:
        """Whether the file or folder at `path` is in this format."""
        ...

    def companions(self, filename: str) -> tuple[str, ...]:
        """Other files that are read beside `filename` where the repository has them."""
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


def read_saes(path: Path, *, name: str, source: Mapping[str, Any]) -> Iterator[Sae]:
    """The SAEs in the checkpoint at `path`, in whichever format it is, one after the other.

    `source` may state what its files do not say: `hook_name`, `model_name`, `k` (`formats/stated.py`). Of several SAEs
    only those are read that agree with it; each is called `name` and what tells it from the others.
    """
    format_name = _format_of(path, name)
    members = _members(format_name, path, name, source)
    for member in members:
        member_name = "_".join([name, *map(_label, member.items())]) if len(members) > 1 else name
        yield _read(format_name, path, member_name, {**source, **member})


def read_sae(path: Path, *, name: str, source: Mapping[str, Any]) -> Sae:
    """The one SAE at `path`, or that one of several which `source` picks."""
    format_name = _format_of(path, name)
    members = _members(format_name, path, name, source)
    if len(members) > 1:
        raise UserError(f"SAE {name!r}: {path} holds {_listed(members)}; give {' or '.join(members[0])} to pick one")
    return _read(format_name, path, name, {**source, **members[0]})


def _read(format_name: str, path: Path, name: str, source: Mapping[str, Any]) -> Sae:
    with reading(path, remedy=f"is it damaged, or not in the format {format_name}?"):
        sae = find_format(format_name).read(path, name=name, source={**source, "format": format_name})
        sae.card = completed(sae.card, source)
        return sae


def _format_of(path: Path, name: str) -> str:
    """The name of the format that recognises `path`."""
    if path.suffix in PICKLED and path.is_file() and not shapes_in(path):
        read_pickled(path, sae=name)  # Says what is wrong with a file that is damaged or holds code.
    for format_name in format_names():
        if find_format(format_name).recognises(path):
            return format_name
    raise UserError(
        f"SAE {name!r}: {path} is not in a known format: {what_is_at(path)}. Known: {', '.join(format_names())} "
        "(saelens: a folder with cfg.json and sae_weights.safetensors; dictionary_learning: ae.pt with config.json; "
        "docs/formats.md has all)"
    )


def _members(format_name: str, path: Path, name: str, source: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What `source` has to add for each SAE in the checkpoint that agrees with it; once nothing where it holds one."""
    list_members = vars(find_format(format_name)).get("members")
    if list_members is None:
        return [{}]
    with reading(path, remedy=f"is it damaged, or not in the format {format_name}?"):
        members: list[Mapping[str, Any]] = list_members(path, sae=name)
    chosen = [member for member in members if all(_agrees(key, value, source) for key, value in member.items())]
    if not chosen:
        stated = ", ".join(f"{key} = {shown(source[key])}" for key in members[0] if source.get(key) is not None)
        raise UserError(f"SAE {name!r}: {path} holds {_listed(members)}, none with {stated}; correct or remove it")
    return chosen


def _agrees(key: str, value: object, source: Mapping[str, Any]) -> bool:
    stated = source.get(key)
    if key == "hook_name" and stated is not None:
        return Site.parse(stated) == Site.parse(str(value))
    return stated is None or stated == value


def _label(entry: tuple[str, Any]) -> str:
    """How a member's entry stands in its name: `k8`, `blocks.6.hook_resid_pre`."""
    key, value = entry
    return str(value) if key == "hook_name" else f"{key}{value}"


def _listed(members: Sequence[Mapping[str, Any]]) -> str:
    values = (" and ".join(f"{key} = {value}" for key, value in member.items()) for member in members)
    return f"{len(members)} SAEs ({', '.join(values)})"


def companions_of(filename: str) -> tuple[str, ...]:
    """The files that any format would read beside `filename`."""
    return tuple(other for name in format_names() for other in find_format(name).companions(filename))


def short_name_of(filename: str) -> str:
    """What tells a checkpoint from its neighbours in a repository; empty if nothing in its path does.

    The last part of its path without the suffix, unless a format that knows better offers `short_name(filename)`.
    """
    functions = (vars(find_format(name)).get("short_name") for name in format_names())
    names = (function(filename) for function in functions if function is not None)
    last = PurePosixPath(filename).name
    plain = next((last.removesuffix(suffix) for suffix in _SUFFIXES if last.endswith(suffix)), last)
    return next((name for name in names if name is not None), plain)


def path_name_of(filename: str) -> str:
    """`short_name_of` after the folders above it: what tells a checkpoint from all others of the repository.

    It depends on nothing but `filename`, so that it stays when the repository gets more checkpoints.
    """
    short, parts = short_name_of(filename), PurePosixPath(filename).parts
    starts = [i for i, part in enumerate(parts) if short == part or short.startswith(f"{part}_")]
    return "_".join([*parts[: max(starts, default=len(parts) - 1)], short]) if parts else ""
