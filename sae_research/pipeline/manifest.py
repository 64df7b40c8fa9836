"""The list of a run's SAEs, `downloaded_saes/manifest.json`, read without torch."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from sae_research.errors import UserError
from sae_research.foreign import plain_name, read_json_object, shown
from sae_research.pipeline.sections import Atoms
from sae_research.records import read_record
from sae_research.saes.registry import architectures

MANIFEST_FILE = "manifest.json"
SCHEMA = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{,199}")
_REMEDY = "run the setup stage first (`dvc repro setup`)"


@dataclass(frozen=True)
class Manifest:
    """What the setup stage prepared."""

    model: Mapping[str, Any]
    """The language model: `name` and resolved `revision`."""
    saes: tuple[Mapping[str, Any], ...]
    """An entry per SAE in the order of `params.yaml`, see `Entry`."""
    local: Mapping[str, str] = field(default_factory=dict)
    """The revisions of what setup read in local folders, see `local_folders`."""


@dataclass(frozen=True)
class Entry:
    """What the manifest holds of an SAE."""

    name: str
    """Its folder's name."""
    architecture: str
    label: str
    """What tables call its architecture."""
    control: bool
    """Whether it learned nothing that a metric should reward."""
    atoms: Atoms | None
    """What its atoms are where `setup` made it as a control."""
    control_for: str | None
    """The variant with the same encoder and settings, for such a control."""
    hook_name: str
    layer: int
    scope: Literal["token", "sequence"]
    d_in: int
    d_sae: int
    hyperparameters: Mapping[str, Any]
    source: Mapping[str, Any]
    digest: str
    training_tokens: int | None
    model_name: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"name is {shown(self.name)}, expected letters, digits, dots, dashes and underscores")
        if self.architecture not in architectures():
            valid = ", ".join(architectures())
            raise ValueError(f"architecture is {shown(self.architecture)}, expected one of {valid}")


@dataclass(frozen=True)
class _Model:
    name: str
    revision: str


@dataclass(frozen=True)
class _Content:
    """The manifest but for its version."""

    model: _Model
    saes: tuple[Entry, ...]
    local: Mapping[str, str]


def read_manifest(folder: Path) -> Manifest:
    """The manifest that the setup stage wrote into `folder`; names in it lead nowhere else."""
    path = folder / MANIFEST_FILE
    content = read_json_object(path, remedy=_REMEDY)
    if content.get("schema") != SCHEMA:
        raise UserError(f"{path} is not in the form that this version writes; {_REMEDY}")
    try:
        _check(content, str(path))
    except UserError as error:
        raise UserError(f"{error}; {_REMEDY}") from error
    return Manifest(model=content["model"], saes=tuple(content["saes"]), local=content.get("local", {}))


def _check(content: Mapping[str, Any], where: str) -> None:
    """UserError unless the model and each SAE are described as setup does; further keys do no harm."""
    known = {f.name for f in fields(Entry)}
    entries = content.get("saes")
    if isinstance(entries, list):
        entries = [
            {key: value for key, value in entry.items() if key in known} if isinstance(entry, Mapping) else entry
            for entry in entries
        ]
    values = {"model": content.get("model"), "saes": entries, "local": content.get("local", {})}
    read = read_record(_Content, values, where=where)
    for index, entry in enumerate(read.saes):
        plain_name(entry.hook_name, f"{where}.saes[{index}]: hook_name")
        plain_name(entry.label, f"{where}.saes[{index}]: label")
    names = [entry.name.casefold() for entry in read.saes]
    twice = next((entry.name for i, entry in enumerate(read.saes) if names[i] in names[:i]), None)
    if twice is not None:
        raise UserError(f"{where}: saes hold the name {twice!r} twice, letter case aside")


def manifest_text(
    model: Mapping[str, Any], saes: Sequence[Mapping[str, Any]], local: Mapping[str, str] = MappingProxyType({})
) -> str:
    """`manifest.json` of these: the same bytes for the same content."""
    content = {"schema": SCHEMA, "model": dict(model), "saes": [dict(entry) for entry in saes]}
    content |= {"local": dict(local)} if local else {}
    return json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n"
