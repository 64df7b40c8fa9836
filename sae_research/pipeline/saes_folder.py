"""The folder of a run's SAEs, and its manifest: it changes as a whole, and only what is ours in it."""

from __future__ import annotations

import filecmp
import json
import logging
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sae_research.errors import UserError
from sae_research.files import (
    explained_disk_errors,
    remove_stale,
    replace_folder,
    require_own_folder,
    temporary_folder,
    write_atomically,
)
from sae_research.formats.readers.saelens import write_folder
from sae_research.pipeline.manifest import MANIFEST_FILE, manifest_text
from sae_research.pipeline.names import slug
from sae_research.saes.base import Sae, SaeCard
from sae_research.saes.build import rename

log = logging.getLogger(__name__)

_WRITTEN_FILE = ".written.json"
"""Lists the SAE folders that are ours while there is no manifest to say so."""
# Keeps `<name>_eval_results.json` below the 255 bytes that file systems allow.
_LONGEST_NAME = 120


def write_saes(
    saes: Iterable[Sae],
    folder: Path,
    *,
    model: Mapping[str, Any],
    local: Mapping[str, str] = MappingProxyType({}),
    scratch: Path | None = None,
    record_of: Callable[[SaeCard], Path | None] = lambda _: None,
) -> dict[str, Any]:
    """Makes `folder` hold exactly `saes`, a sub-folder each, and their manifest, which is returned.

    Nothing there changes before all SAEs are written to `scratch` (default: a hidden folder beside `folder`, on the
    same file system). An unchanged SAE's folder is left alone. Without a manifest the folder is unfinished. If `saes`
    is an iterator, only one SAE is in memory at a time. What `record_of` names for a card is copied beside the SAE.
    """
    workshop = scratch or folder.parent / f".{folder.name}.part"
    try:
        with explained_disk_errors(folder), temporary_folder(workshop) as draft:
            entries = _write_all(saes, draft, record_of)
            text = manifest_text(model, entries, local)
            _publish(draft, folder, [entry["name"] for entry in entries], text)
    finally:
        if scratch is None:
            shutil.rmtree(workshop, ignore_errors=True)
    return json.loads(text)


def _write_all(saes: Iterable[Sae], draft: Path, record_of: Callable[[SaeCard], Path | None]) -> list[dict[str, Any]]:
    """Writes every SAE under a name that no other has, its record beside it; returns their manifest entries."""
    taken: set[str] = set()
    names: dict[str, str] = {}
    entries = []
    first: dict[str, str] = {}
    for sae in saes:
        name = _free_name(sae.card, taken)
        names.setdefault(sae.card.name, name)
        named = rename(sae, name)
        taken.add(name.casefold())
        same = first.setdefault(named.card.digest, name)
        if same != name:
            log.warning("SAEs %s and %s are the same one, with equal numbers", same, name)
        write_folder(named, draft / name)
        record = record_of(sae.card)
        if record is not None:
            shutil.copyfile(record, draft / name / record.name)
        entry = named.describe()
        entries.append({**entry, "control_for": names.get(entry["control_for"], entry["control_for"])})
    return entries


def _free_name(card: SaeCard, taken: set[str]) -> str:
    """The card's name; on a clash (letter case aside, as some file systems have it) with a digest prefix."""
    name = slug(card.name)
    if len(name) > _LONGEST_NAME or name == MANIFEST_FILE:
        name = f"{name[: _LONGEST_NAME - 9]}_{card.digest[:8]}"
    if name.casefold() not in taken:
        return name
    distinct = f"{name[: _LONGEST_NAME - 9]}_{card.digest[:8]}"
    candidates = [distinct, *(f"{distinct}_{number}" for number in range(2, len(taken) + 3))]
    return next(candidate for candidate in candidates if candidate.casefold() not in taken)


def _publish(draft: Path, folder: Path, names: Sequence[str], text: str) -> None:
    """Brings `folder` to what `draft` holds; the manifest goes first and comes back last."""
    require_own_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / MANIFEST_FILE
    changed = [name for name in names if not _same_files(draft / name, folder / name)]
    written = _written_before(folder)
    foreign = sorted(name for name in changed if (folder / name).exists() and name not in written)
    if foreign:
        raise UserError(
            f"{folder / foreign[0]} was not written by the setup stage, and an SAE of this run has its name; move it "
            "out of the folder, or give the SAE a label"
        )
    if not changed and written == set(names) and manifest.read_text(encoding="utf-8") == text:
        remove_stale(folder, written=written, wanted={*names, MANIFEST_FILE})
        return
    # Until the new manifest is there this file says what is ours, also after a kill.
    write_atomically(folder / _WRITTEN_FILE, json.dumps(sorted(written | set(names))) + "\n", scratch=draft)
    manifest.unlink(missing_ok=True)
    for name in changed:
        replace_folder(draft / name, folder / name)
    remove_stale(folder, written=written, wanted={*names, MANIFEST_FILE, _WRITTEN_FILE})
    write_atomically(manifest, text, scratch=draft)
    (folder / _WRITTEN_FILE).unlink()


def _written_before(folder: Path) -> set[str]:
    """The names of the SAE folders that earlier runs of this stage have written, finished or not."""
    names: set[str] = set()
    with suppress(OSError, ValueError, TypeError, KeyError):
        names |= {entry["name"] for entry in json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))["saes"]}
    with suppress(OSError, ValueError, TypeError):
        names |= set(json.loads((folder / _WRITTEN_FILE).read_text(encoding="utf-8")))
    return {name for name in names if isinstance(name, str) and name == Path(name).name}


def _same_files(a: Path, b: Path) -> bool:
    """Whether two folders hold the same files with the same bytes."""
    if not b.is_dir():
        return False
    names = sorted(path.name for path in a.iterdir())
    if names != sorted(path.name for path in b.iterdir()):
        return False
    return filecmp.cmpfiles(a, b, names, shallow=False)[0] == names
