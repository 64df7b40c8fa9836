"""The package's C++ sources as shared libraries, compiled at first use and kept in the user's cache folder.

Without a compiler, or if it fails, one line in the log says so and plain PyTorch does the work.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from sae_research.errors import UserError
from sae_research.files import write_atomically

log = logging.getLogger(__name__)

_FLAGS = ("-std=c++17", "-O3", "-march=native", "-shared", "-fPIC", "-pthread", "-fopenmp-simd", "-fno-math-errno")
_SECONDS = 120
_DIGITS = 24
"""Of a SHA-256 in a file's name."""


def find_compiler() -> str | None:
    """The path of CXX or a usual C++ compiler."""
    return next(filter(None, map(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++"))), None)


@cache
def load_source(source: Path, *more_flags: str, symbols: tuple[str, ...] = ()) -> ctypes.CDLL | None:
    """The library that `source` compiles to on this machine; None, with a line in the log, if it does not compile.

    None as well if it lacks one of the `symbols`.
    """
    compiler = find_compiler()
    if compiler is None:
        log.info("no C++ compiler found: %s runs in plain PyTorch, which is several times slower", source.stem)
        return None
    try:
        library = _load(source, compiler, (*_FLAGS, *more_flags))
    except (OSError, UserError, subprocess.SubprocessError) as error:
        reason = getattr(error, "stderr", None) or str(error)
        log.warning("%s could not be compiled, plain PyTorch takes its place: %s", source.name, reason.strip()[:300])
        return None
    missing = [name for name in symbols if not hasattr(library, name)]
    if missing:
        log.warning("%s compiled lacks %s, plain PyTorch takes its place", source.name, ", ".join(missing))
    return None if missing else library


def _load(source: Path, compiler: str, flags: tuple[str, ...]) -> ctypes.CDLL:
    """The library of an earlier process if it is as it was, or compiled now.

    Its name depends on source, flags, compiler and processor, and ends in the digest of its bytes: mapping a truncated
    library would end the process.
    """
    target = _run([compiler, "-march=native", "-dM", "-E", "-x", "c++", os.devnull])  # its version and its processor
    parts = (source.read_text(encoding="utf-8"), " ".join(flags), target)
    name = f"{source.stem}-{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:_DIGITS]}"
    folder = _private_folder()
    for path in folder.glob(f"{name}-*.so"):
        library = _intact_library(path)
        if library is not None:
            return library
        log.warning("%s is damaged and compiled again", path)
        path.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as workshop:
        draft = Path(workshop) / "library.so"
        _run([compiler, *flags, str(source), "-o", str(draft)])
        content = draft.read_bytes()
    path = folder / f"{name}-{_digest(content)}.so"
    write_atomically(path, content)
    return ctypes.CDLL(str(path))


def _intact_library(path: Path) -> ctypes.CDLL | None:
    """The library at `path`, None if its bytes are not those it is named by, or it cannot be loaded."""
    try:
        promised = path.stem.rpartition("-")[2]
        return ctypes.CDLL(str(path)) if _digest(path.read_bytes()) == promised else None
    except OSError:
        return None


def _private_folder() -> Path:
    """A folder that this user alone can write to: in the user's cache, or else among the temporary files.

    Whoever can write to it can run code in our name.
    """
    usual = _cache_folder() / "sae_research"
    if _is_private(usual):
        return usual
    spare = Path(tempfile.gettempdir()) / f"sae_research-{os.getuid()}"
    if not _is_private(spare):
        raise OSError(f"others can write to {usual} and to {spare}; set XDG_CACHE_HOME to a folder of your own")
    log.warning(
        "compiled kernels are kept in %s: %s is not writable, belongs to another user, or can be written to by others "
        "(`chmod 700` it, or set XDG_CACHE_HOME)", spare, usual,
    )  # fmt: skip
    return spare


def _cache_folder() -> Path:
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # a user without a home
        return Path(os.devnull)


def _is_private(folder: Path) -> bool:
    """Whether `folder`, made if it is not there, is this user's, and others can neither write to it nor replace it."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        link, target, parent = folder.lstat(), folder.stat(), folder.resolve().parent.stat()
    except OSError:
        return False
    if sys.platform == "win32":
        return True
    is_mine = link.st_uid == target.st_uid == os.getuid() and not target.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    can_be_replaced = bool(parent.st_mode & stat.S_IWOTH) and not parent.st_mode & stat.S_ISVTX
    return is_mine and not can_be_replaced and os.access(folder, os.W_OK)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:_DIGITS]


def _run(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=_SECONDS).stdout
