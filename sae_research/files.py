"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sae_research.errors import UserError


@contextmanager
def explained_disk_errors(path: Path) -> Iterator[None]:
    """Turns a full disk or a missing permission into a UserError that names the place and the remedy."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                f"disk full while writing {path}: free some space on that file system and run again; "
                "what was finished before is kept"
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise UserError(f"no permission to write {path}: check the owner and mode of {path.parent}") from error
        raise


def write_atomically(path: Path, content: bytes | str, *, scratch: Path | None = None) -> None:
    """Replaces the file at `path` by `content` in one step, on disk when this returns.

    The temporary file lies in `scratch` (default: beside `path`), which must be on the same file system.
    """
    data = content.encode() if isinstance(content, str) else content
    folder = scratch or path.parent
    with explained_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder, prefix=".tmp-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(0o644)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


@contextmanager
def folder_in_the_making(folder: Path, *, scratch: Path) -> Iterator[Path]:
    """A temporary folder below `scratch` that becomes `folder` when the block ends well, and vanishes otherwise."""
    with explained_disk_errors(folder):
        scratch.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=scratch, prefix=".tmp-"))
        try:
            yield draft
            draft.chmod(0o755)
            replace_folder(draft, folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def replace_folder(source: Path, target: Path) -> None:
    """Moves the folder `source` to `target`, removing what stood there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        shutil.rmtree(target)
    source.replace(target)
