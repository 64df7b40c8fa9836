"""Checks files in the hub's cache against the SHA-256 in their names."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from sae_research.digests import digest_file
from sae_research.sources.listings import notes_folder, read_note, write_note


def content_digest(file: Path) -> str:
    """The SHA-256 of a file's bytes; within a process it is read again only after a change."""
    return _digest(file, _stamp(file))


def promised_digest(pointer: Path) -> str | None:
    """The SHA-256 in the name of the blob that `pointer` links to; None if it has another name, as outside LFS."""
    if not pointer.is_symlink():
        return None
    # Only one step: the blob may itself link to a shared store, whose names are other hashes.
    blob = pointer.readlink()
    return blob.name if blob.parent.name == "blobs" and re.fullmatch(r"[0-9a-f]{64}", blob.name) else None


def is_intact(pointer: Path, repository: str) -> bool:
    """Whether the file of a snapshot has the SHA-256 in its blob's name; True if that name has none.

    Each blob is read once: a note with its size and times tells later runs that it was intact.
    """
    promised = promised_digest(pointer)
    if promised is None:
        return True
    note = notes_folder() / "intact" / f"{repository}--{promised}.json"
    stamp = list(_stamp(pointer))
    if read_note(note) == stamp:
        return True
    if content_digest(pointer) != promised:
        return False
    write_note(note, stamp)
    return True


def _stamp(file: Path) -> tuple[int, int, int]:
    """Changes whenever the content does: programs can set back the time of modification, but not the inode's."""
    stat = file.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


@lru_cache(maxsize=4096)
def _digest(file: Path, _stamp: tuple[int, int, int]) -> str:
    return digest_file(file)
