"""Local folders as repositories: the names of their files, and a digest as their revision."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

from sae_research.errors import UserError
from sae_research.sources.blobs import content_digest

FOLDER_REVISION = "sha256:"
"""Prefix of the revision of a folder; the hub's revisions are bare commit hashes."""
_MOST_FILES = 100_000
"""Listing them takes a second or two; a folder with more is somebody's home or a whole disk."""


def exists(path: Path) -> bool:
    """Whether `path` exists; False if the name is too long for the file system."""
    try:
        return path.exists()
    except OSError:
        return False


def names_in(root: Path, *, recursive: bool = True) -> tuple[str, ...]:
    """The files in `root`, by default at any depth, sorted, as paths with '/'; hidden ones are left out."""
    paths = list(islice(root.rglob("*") if recursive else root.iterdir(), _MOST_FILES + 1))
    if len(paths) > _MOST_FILES:
        raise UserError(f"{root} holds more than {_MOST_FILES} files and folders; give the path of the folder itself")
    relative = (path.relative_to(root) for path in paths if path.is_file())
    return tuple(sorted(path.as_posix() for path in relative if not any(part.startswith(".") for part in path.parts)))


def revision_of(
    path: Path, names: Iterable[str] | None = None, *, digest: Callable[[Path], str] = content_digest
) -> str:
    """`sha256:` and a digest over names and bytes: of the files `names` in the folder, or of all that is at `path`.

    `digest` returns the SHA-256 of one file.
    """
    if names is None:
        names, path = (names_in(path), path) if path.is_dir() else ((path.name,), path.parent)
    whole = hashlib.sha256()
    for name in names:
        whole.update(f"{name}\0{digest(path / name)}\n".encode())
    return FOLDER_REVISION + whole.hexdigest()


def check_revision(repo_id: str, wanted: str | None, present: str) -> None:
    """Raises UserError if a folder's revision is not the one that is wanted."""
    if wanted is not None and wanted != present:
        raise UserError(
            f"folder {repo_id!r}: its content is {present}, expected {wanted}; if it was changed or damaged since "
            "setup, run the setup stage again; if this 'revision' stands in params.yaml, remove it there"
        )
