"""Profiles: values that a command writes into `params.yaml`, whose comments and blank lines stay as they are."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.nodes import CollectionNode, MappingNode, Node

from sae_research.errors import UserError
from sae_research.files import write_atomically
from sae_research.pipeline.params import read_params
from sae_research.pipeline.paths import Paths
from sae_research.yaml_text import parse_yaml, read_yaml

Place = tuple[str, ...]
"""Where a value stands in `params.yaml`: (section, key), or (key,) where the section is a list or a scalar."""


class Entry(NamedTuple):
    """A key and its value as YAML nodes, which know their positions in the text."""

    key: Node
    value: Node


def profile_names(paths: Paths) -> list[str]:
    """The names of the profiles in `profiles/`."""
    return sorted(path.stem for path in paths.profiles.glob("*.yaml"))


def read_profile(path: Path) -> dict[Place, Any]:
    """The values of a profile by their place in `params.yaml`."""
    return dict(_places(read_yaml(path), path))


def _places(content: object, file: Path | str) -> Iterator[tuple[Place, Any]]:
    if not isinstance(content, Mapping):
        raise UserError(f"{file}: got {type(content).__name__}, expected sections of params.yaml with their values")
    for section, value in content.items():
        if isinstance(value, Mapping):
            yield from (((section, key), inner) for key, inner in value.items())
        else:
            yield (section,), value


def write_profile(name: str, paths: Paths, *, force: bool = False) -> str:
    """Writes the profile's values into `params.yaml`; returns what to tell the user.

    A value is replaced whole, comments between its lines included; all else in the file stays as it is. All profiles
    set the same keys, so `embedded` undoes any of them. What is no profile's would be lost: with `force` it is kept in
    a copy of the file, without it is an error.
    """
    if not paths.params.exists():
        raise UserError(f"{paths.params} does not exist; run this in the project's folder")
    if name not in profile_names(paths):
        raise UserError(f"profile {name!r} does not exist; valid: {', '.join(profile_names(paths))}")
    values = read_profile(paths.profiles / f"{name}.yaml")
    where = f"profiles/{name}.yaml"
    before = paths.params.read_text(encoding="utf-8")
    text = replace_values(before, values, where=where)
    read_params(parse_yaml(text, where=where), where=where)
    edited = _own_values(before, values, paths)
    if edited and not force:
        raise UserError(
            f"params.yaml holds values of your own in {', '.join(edited)}, which profile {name!r} would overwrite; "
            "add --force to keep them in a copy, params.yaml.bak, only"
        )
    if edited:
        copies = (paths.root / f"params.yaml.bak{number}" for number in ["", *range(2, 10**6)])
        copy = next(path for path in copies if not path.exists() or path.read_text(encoding="utf-8") == before)
        write_atomically(copy, before)
    write_atomically(paths.params, text)
    copied = f"; what was there is in {copy.name}" if edited else ""
    return f"params.yaml now holds profile {name!r}{copied}; next: dvc repro\n"


def _own_values(text: str, values: Mapping[Place, Any], paths: Paths) -> list[str]:
    """Which of the values that `values` would replace are no profile's, or have comments between their lines."""
    before, entries = dict(_places(parse_yaml(text, where="params.yaml"), "params.yaml")), _entries(text)
    profiles = [read_profile(paths.profiles / f"{name}.yaml") for name in profile_names(paths)]
    edited = []
    for place, value in values.items():
        is_from_profile = any(place in profile and profile[place] == before[place] for profile in profiles)
        if before[place] != value and (not is_from_profile or _has_comment(entries[place], text)):
            edited.append(".".join(place))
    return edited


def _has_comment(entry: Entry, text: str) -> bool:
    """Whether there is a comment on the lines after the entry's first."""
    lines = text[entry.key.start_mark.index : _end(entry.value, text)].split("\n")[1:]
    return any(re.search(r"(^|\s)#", line) for line in lines)


def replace_values(text: str, values: Mapping[Place, Any], *, where: str) -> str:
    """The text of a `params.yaml` with these values in place of its own; `where` names their source in errors."""
    before, entries = dict(_places(parse_yaml(text, where="params.yaml"), "params.yaml")), _entries(text)
    for place in values:
        if place not in entries:
            raise UserError(
                f"{where} sets {'.'.join(place)}, which params.yaml does not have; correct the key, or add it there"
            )
    edited = text
    # From the end of the file on, so that the positions before an edit stay right.
    for place in sorted(values, key=lambda place: entries[place].key.start_mark.index, reverse=True):
        if before.get(place) != values[place]:
            edited = _replace(edited, entries[place], values[place])
    if _still_holds(edited, {**before, **values}):
        return edited
    raise UserError(
        f"the values of {where} do not fit into params.yaml as it is written; put every key on a line of its own, and "
        "use no anchors"
    )


def _still_holds(text: str, values: Mapping[Place, Any]) -> bool:
    try:
        return dict(_places(parse_yaml(text, where="params.yaml"), "params.yaml")) == values
    except UserError:
        return False


def _entries(text: str) -> dict[Place, Entry]:
    """Every key of the file: the sections, and the keys in them."""
    entries: dict[Place, Entry] = {}
    for section, value in _pairs(YAML(typ="safe", pure=True).compose(text)):
        entries[section.value,] = Entry(section, value)
        for key, inner in _pairs(value):
            entries[section.value, key.value] = Entry(key, inner)
    return entries


def _pairs(node: Node | None) -> Sequence[tuple[Node, Node]]:
    return node.value if isinstance(node, MappingNode) else ()


def _replace(text: str, entry: Entry, value: Any) -> str:
    """`text` with another value for the entry; a comment at the end of the key's line stays there."""
    key, node = entry
    colon = text.index(":", key.end_mark.index) + 1
    end = _end(node, text) if node.end_mark.index > node.start_mark.index else colon
    comment_start = colon if "\n" in text[colon : node.start_mark.index] else end
    comment = text[comment_start:].split("\n", 1)[0]
    first, *lines = _block_style(key.value, value)
    indent = " " * key.start_mark.column
    written = "\n".join([first + comment, *(indent + line for line in lines)])
    return text[: key.start_mark.index] + written + text[max(end, comment_start + len(comment)) :]


def _end(node: Node, text: str) -> int:
    """Where the node's text ends. YAML counts the comments after a block's last item as part of the block."""
    if isinstance(node, CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[-1] if isinstance(last, tuple) else last, text)
    start, end = node.start_mark.index, node.end_mark.index
    return start + len(text[start:end].rstrip())


def _block_style(key: str, value: Any) -> list[str]:
    """The lines of `key: value`, one item per line, which `dvc exp run -S` rewrites without moving anything."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.width = 10**6
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.indent(mapping=2, sequence=4, offset=2)
    stream = io.StringIO()
    yaml.dump({key: value}, stream)
    # 3e-06 is a string to readers of YAML 1.1; what is a string here stands in quotes.
    text = re.sub(r"(?m)([:-] -?\d+)(e[-+]\d+)$", r"\1.0\2", stream.getvalue())
    return text.rstrip("\n").split("\n")
