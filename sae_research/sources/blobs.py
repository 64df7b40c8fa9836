"""Files of the hub's cache, compared with the SHA-256 that they are named by."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from sae_research.digests import digest_file
from sae_research.sources.listings import memory_folder, read_note, write_note


def content_digest(file: Path) -> str:
    """The SHA-256 of a file's bytes, read again only where the file has changed since."""
    return _digest(file, _stamp(file))


def promised_digest(pointer: Path) -> str | None:
    """The name of the blob that a snapshot's file links to, where it is a SHA-256; so the hub names what LFS keeps."""
    if not pointer.is_symlink():
        return None
    # One step only: a blob may itself link to a store that is shared and named by other hashes.
    blob = pointer.readlink()
    return blob.name if blob.parent.name == "blobs" and re.fullmatch(r"[0-9a-f]{64}", blob.name) else None


def is_intact(pointer: Path, repository: str) -> bool:
    """Whether a file of a snapshot holds the bytes that its blob is named by; True of names that promise nothing.

    Each is read once: a note tells later runs which blob of which repository, as it lies there, was found intact.
    """
    promised = promised_digest(pointer)
    if promised is None:
        return True
    note = memory_folder() / "intact" / f"{repository}--{promised}.json"
    stamp = list(_stamp(pointer))
    if read_note(note) == stamp:
        return True
    if content_digest(pointer) != promised:
        return False
    write_note(note, stamp)
    return True


def _stamp(file: Path) -> tuple[int, int, int]:
    """What changes with a file's content, for all that programs can do: its inode's time cannot be set back."""
    stat = file.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


@lru_cache(maxsize=4096)
def _digest(file: Path, _stamp: tuple[int, int, int]) -> str:
    return digest_file(file)
