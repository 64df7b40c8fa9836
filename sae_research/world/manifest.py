"""The world's `manifest.json`: what the world was built from, and a digest of every file. Needs no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sae_research.digests import digest_file
from sae_research.files import write_atomically
from sae_research.world.settings import WorldSettings

MANIFEST = "manifest.json"
_SCHEMA = 1


def write_manifest(
    folder: Path, settings: WorldSettings, *, contents: Mapping[str, str], training: Mapping[str, Any]
) -> dict[str, Any]:
    """Writes the manifest of the finished world in `folder` and returns it.

    `contents` are digests that are the same on every machine (data sets by their rows), `training` is statistics.
    """
    manifest = {
        "schema": _SCHEMA,
        "key": settings.key,
        "seed": settings.seed,
        "size": settings.size,
        "recipe": asdict(settings.recipe),
        "contents": dict(contents),
        "training": dict(training),
        "files": file_digests(folder),
    }
    write_atomically(folder / MANIFEST, json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    return manifest


def file_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of the world but the manifest, by relative name."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST)
    return {path.relative_to(folder).as_posix(): digest_file(path) for path in files}


def world_is_valid(folder: Path, settings: WorldSettings) -> bool:
    """Whether `folder` holds the world of `settings`, built by this code, with no file changed since."""
    manifest = read_manifest(folder)
    if manifest is None or manifest.get("schema") != _SCHEMA or manifest.get("key") != settings.key:
        return False
    return manifest.get("files") == file_digests(folder)


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest in `folder`; None if it is missing or unreadable."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError, UnicodeDecodeError):
        return None
    return manifest if isinstance(manifest, dict) else None
