"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import errno
import logging
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sae_research.errors import UserError

log = logging.getLogger(__name__)

_TEMPORARY = ".tmp-"
_TORCH_CANNOT_WRITE = "enforce fail at inline_container.cc"
_ABANDONED_AFTER = 3600.0
"""Seconds after which a dead process's files belong to nobody."""


@contextmanager
def explained_disk_errors(path: Path) -> Iterator[None]:
    """Turns a full disk, a missing permission or another file system into a UserError with the place and the remedy."""
    try:
        yield
    except Exception as error:
        message = disk_message(error, path)
        if message is None:
            raise
        raise UserError(message) from error


def disk_message(error: Exception, path: Path) -> str | None:
    """The message for an error that comes from the disk under `path`; None for any other error."""
    if isinstance(error, UserError):
        return None
    number = error.errno if isinstance(error, OSError) else None
    if number is None:
        number = _number_in(str(error))
    if number in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"disk full while writing {path}: free some space on that file system and run again; "
            "what was finished before is kept"
        )
    if number in (errno.EACCES, errno.EROFS, errno.EPERM):
        return f"no permission to write {path}: check the owner and mode of {path.parent}"
    if number == errno.EXDEV:
        return (
            f"{path} and the store .sae_cache lie on different file systems, so that files cannot be put in place in "
            "one step; move the whole project, not one folder of it"
        )
    if number == errno.EFBIG:
        return f"{path} is larger than a file may be here: raise the limit (`ulimit -f`), or use another file system"
    if number == errno.EBUSY:
        return f"{path} is in use, or a mount point, and cannot be replaced: unmount it, or make it a plain folder"
    return None


def _number_in(message: str) -> int | None:
    """The error's number where a message alone says it: libraries in Rust, shutil.copytree, torch.save."""
    match = re.search(r"\(os error (\d+)\)|\[Errno (\d+)\]", message)
    if match is not None:
        return int(match[1] or match[2])
    return errno.ENOSPC if _TORCH_CANNOT_WRITE in message else None


def write_atomically(path: Path, content: bytes | str, *, scratch: Path | None = None) -> None:
    """Replaces the file at `path` by `content` in one step, on disk when this returns.

    The temporary file lies in `scratch` (default: beside `path`), which must be on the same file system.
    """
    data = content.encode() if isinstance(content, str) else content
    folder = scratch or path.parent
    with explained_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder, prefix=_temporary_prefix())
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
    with explained_disk_errors(folder), temporary_folder(scratch) as draft:
        yield draft
        draft.chmod(0o755)
        replace_folder(draft, folder)


@contextmanager
def temporary_folder(scratch: Path) -> Iterator[Path]:
    """A folder below `scratch` until the block ends."""
    scratch.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=scratch, prefix=_temporary_prefix()))
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def remove_leftovers(*folders: Path) -> None:
    """Removes what killed processes of this machine left half-written anywhere below `folders`."""
    of_this_machine = _temporary_prefix().rpartition(f"{os.getpid()}-")[0]
    for left in dict.fromkeys(left for folder in folders for left in _temporary_below(folder)):
        process = left.name.removeprefix(of_this_machine).partition("-")[0]
        if left.name.startswith(of_this_machine) and process.isdigit() and _is_abandoned(left, int(process)):
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)


def _temporary_below(folder: Path) -> Iterator[Path]:
    """Temporary files and folders; what vanishes meanwhile, because another process ends or clears up, is no error."""
    for place, folders, files in os.walk(folder):
        yield from (Path(place, name) for name in (*folders, *files) if name.startswith(_TEMPORARY))
        folders[:] = [name for name in folders if not name.startswith(_TEMPORARY)]


def _temporary_prefix() -> str:
    return f"{_TEMPORARY}{platform.node()}-{os.getpid()}-"


def _is_abandoned(left: Path, process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        # Its process may live in another container with this machine's name.
        with suppress(FileNotFoundError):
            return left.lstat().st_mtime < time.time() - _ABANDONED_AFTER
    except PermissionError:
        pass
    return False


def replace_folder(source: Path, target: Path) -> None:
    """Moves the folder `source` to `target`; what stood there is removed, and is never seen in part."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        source.replace(target)
        return
    with temporary_folder(source.parent) as grave:
        target.replace(grave / "old")
        source.replace(target)


def require_own_folder(folder: Path) -> None:
    """UserError if `folder`, which a stage writes and removes files in, is a link to a folder elsewhere."""
    if folder.is_symlink():
        raise UserError(
            f"{folder} is a link to {folder.resolve()}, whose files might be others'; make it a folder of the project "
            "(to keep data on another disk, put the whole project there, or move DVC's cache: dvc cache dir)"
        )


def remove_stale(folder: Path, *, written: Collection[str], wanted: Collection[str]) -> None:
    """Removes what an earlier run has `written` into `folder` and this one no longer wants; nothing else."""
    for name in sorted(set(written) - set(wanted)):
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    strangers = sorted(path.name for path in folder.iterdir() if path.name not in {*written, *wanted})
    if strangers:
        log.warning("%s holds what no stage has written and is left alone: %s", folder, ", ".join(strangers[:5]))
