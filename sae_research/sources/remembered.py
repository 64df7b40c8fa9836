"""Digests of local files that a note remembers between runs, so that large files are read again only after a change."""

from __future__ import annotations

import time
from pathlib import Path

from sae_research.digests import digest_file
from sae_research.sources.listings import read_note, write_note

_SETTLED_SECONDS = 2.0
"""A file younger than this can change once more without a change of its times, which are not finer than that on some
file systems."""


class RememberedDigests:
    """SHA-256 digests by file; a file is read again when its size, inode or one of its times has changed.

    Programs can set back the time of modification but not that of the inode. What passes unnoticed is a change beneath
    the file system (a damaged disk), and on file systems without such times one that keeps size and time.
    """

    def __init__(self, note: Path) -> None:
        self._note = note
        self._read: dict[str, list[object]] = {}
        content = read_note(note)
        self._known: dict[str, object] = content if isinstance(content, dict) else {}

    def of(self, file: Path) -> str:
        """The digest of the file's bytes."""
        name = str(file)
        stat = file.stat()
        stamp = [stat.st_size, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns]
        match self._known.get(name):
            case [known, str(digest)] if known == stamp:
                pass
            case _:
                digest = digest_file(file)
        if time.time() - max(stat.st_mtime, stat.st_ctime) > _SETTLED_SECONDS:
            self._read[name] = [stamp, digest]
        return digest

    def save(self) -> None:
        """Remembers the files that were asked for, and no others."""
        if self._read != self._known:
            write_note(self._note, self._read)
