"""Finds SAEs in SAELens' registry, in a repository of the hub and in a folder; no weights are fetched."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from sae_research.errors import UserError
from sae_research.foreign import read_json_object, shown
from sae_research.formats.checkpoints import matching_checkpoints
from sae_research.formats.expressions import matching
from sae_research.formats.outlines import Outline, outlined
from sae_research.formats.pretrained import RegistryEntry, registry_entries
from sae_research.formats.registry import companions_of
from sae_research.progress import Progress
from sae_research.sources.hub import Hub, Names

_PLACE = "find-saes"
_CONFIGS = ("cfg.json", "config.json")
_MANY = 40
"""Models that a message lists."""


def find_in_registry(
    release: str, sae_id: str, *, model: str | None = None, hub: Hub | None = None
) -> Iterator[Outline]:
    """The SAEs of the registry whose release, id and model match; with a hub, their configurations are fetched."""
    entries = registry_entries(release, sae_id, place=_PLACE)
    models = _matching_models((entry.model for entry in entries), model)
    entries = sorted((entry for entry in entries if entry.model in models), key=_by_numbers)
    listings: dict[str, Names] = {}
    with Progress("find-saes", "configuration") as progress:
        progress.expect(len(entries) if hub else 0)
        for entry in entries:
            outline = Outline(entry.sae_id, entry.release, entry.repo_id, entry.model, l0=entry.l0)
            yield outlined(outline, _fetched(entry, hub, listings), entry.path, entry.release)
            progress.advance(doing=entry.sae_id)


def find_in_repository(
    hub: Hub, repo_id: str, files: str, *, model: str | None = None, revision: str | None = None
) -> list[Outline]:
    """The checkpoints of a repository or folder whose paths match, with what their configurations say."""
    listing = hub.names(repo_id, revision=revision)
    chosen = matching_checkpoints(listing.names, files, repo_id=repo_id, key=f"{_PLACE}: files")
    outlines = []
    with Progress("find-saes", "configuration") as progress:
        progress.expect(len(chosen))
        for filename in chosen:
            outlines.append(outlined(Outline(filename, repo_id=repo_id), _config(hub, repo_id, filename, listing)))
            progress.advance(doing=filename)
    models = _matching_models((outline.model for outline in outlines), model)
    return [outline for outline in outlines if outline.model in models]


def _matching_models(names: Iterable[str | None], expression: str | None) -> set[str | None]:
    """The models whose name, with its organisation or without, the expression matches; without one, all."""
    models = dict.fromkeys(names)
    if expression is None:
        return {*models}
    full = [name for name in models if name]
    ends = [name.rsplit("/", 1)[-1] for name in full]
    wanted = set(matching(f"{_PLACE}: model", expression, [*full, *ends], of="the models"))
    chosen = {name for name, end in zip(full, ends, strict=True) if wanted & {name, end}}
    if not chosen:
        raise UserError(
            f"{_PLACE}: model {shown(expression)} matches none in full; there are: {', '.join(full[:_MANY]) or 'none'}"
            + (f", ... ({len(full)} in all)" if len(full) > _MANY else "")
        )
    return {*chosen}


def _by_numbers(entry: RegistryEntry) -> tuple[str, list[tuple[int, str]]]:
    """Releases by name, their SAEs with layer 9 before layer 10."""
    parts = re.findall(r"[0-9]+|[^0-9]+", entry.sae_id)
    return entry.release, [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _fetched(entry: RegistryEntry, hub: Hub | None, listings: dict[str, Names]) -> Mapping[str, Any]:
    if hub is None:
        return {}
    if entry.repo_id not in listings:
        listings[entry.repo_id] = hub.names(entry.repo_id)
    return _config(hub, entry.repo_id, entry.path, listings[entry.repo_id])


def _config(hub: Hub, repo_id: str, checkpoint: str, listing: Names) -> Mapping[str, Any]:
    """The checkpoint's configuration; nothing where it has none."""
    folders = [PurePosixPath(checkpoint), PurePosixPath(checkpoint).parent]
    candidates = [*companions_of(checkpoint), *(str(folder / name) for folder in folders for name in _CONFIGS)]
    present = {*listing.names}
    name = next((name for name in candidates if name in present), None)
    if name is None:
        return {}
    path = hub.file(repo_id, name, revision=listing.revision).path
    return read_json_object(path, remedy="fetch it again")
