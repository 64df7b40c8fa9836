"""Local folders as repositories: the names of their files, and the digest that is their revision."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from sae_research.errors import UserError
from sae_research.sources.blobs import content_digest

FOLDER_REVISION = "sha256:"
"""How the revision of what lies in a folder starts; the hub's are bare commit hashes."""
_MOST_FILES = 100_000
"""A second or two to list them; who has more has named a home folder or a disk."""


def exists(path: Path) -> bool:
    """Whether there is such a file or folder; what is too long for a name has none."""
    try:
        return path.exists()
    except OSError:
        return False


def names_in(root: Path, *, below: bool = True) -> tuple[str, ...]:
    """Files in `root` and, unless told otherwise, below it; hidden ones left out, sorted, with '/' between parts."""
    paths = list(islice(root.rglob("*") if below else root.iterdir(), _MOST_FILES + 1))
    if len(paths) > _MOST_FILES:
        raise UserError(f"{root} holds more than {_MOST_FILES} files and folders; name the folder itself that is meant")
    relative = (path.relative_to(root) for path in paths if path.is_file())
    return tuple(sorted(path.as_posix() for path in relative if not any(part.startswith(".") for part in path.parts)))


def revision_of(path: Path, names: Iterable[str] | None = None) -> str:
    """`sha256:` + digest over the names and bytes of `names` in a folder, or of the file or whole folder at `path`."""
    if names is None:
        names, path = (names_in(path), path) if path.is_dir() else ((path.name,), path.parent)
    whole = hashlib.sha256()
    for name in names:
        whole.update(f"{name}\0{content_digest(path / name)}\n".encode())
    return FOLDER_REVISION + whole.hexdigest()


def check_revision(repo_id: str, wanted: str | None, found: str) -> None:
    """Raises UserError where the content of a folder is not the one that is wanted."""
    if wanted is not None and wanted != found:
        raise UserError(
            f"folder {repo_id!r}: its content is {found}, expected {wanted}; if it was changed or damaged since setup, "
            "run the setup stage again; if this 'revision' stands in params.yaml, remove it there"
        )
