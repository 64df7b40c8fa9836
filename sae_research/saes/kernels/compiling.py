"""The package's C++ sources as shared libraries, compiled at first use and kept in the user's cache folder.

Without a compiler, or if it fails, one line in the log says so and plain PyTorch does the work.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

log = logging.getLogger(__name__)

_FLAGS = ("-std=c++17", "-O3", "-march=native", "-shared", "-fPIC", "-pthread", "-fopenmp-simd", "-fno-math-errno")
_SECONDS = 120


@cache
def load_source(source: Path, *more_flags: str) -> ctypes.CDLL | None:
    """The library that `source` compiles to on this machine; None, with a line in the log, if it does not compile."""
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++"))), None)
    if compiler is None:
        log.info("no C++ compiler found: %s runs in plain PyTorch, which is several times slower", source.stem)
        return None
    try:
        return ctypes.CDLL(str(_compiled(source, compiler, (*_FLAGS, *more_flags))))
    except (OSError, subprocess.SubprocessError) as error:
        reason = getattr(error, "stderr", None) or str(error)
        log.warning("%s could not be compiled, plain PyTorch takes its place: %s", source.name, reason.strip()[:300])
        return None


def _compiled(source: Path, compiler: str, flags: tuple[str, ...]) -> Path:
    """The library, under a name that depends on source, flags, compiler and processor."""
    target = _run([compiler, "-march=native", "-dM", "-E", "-x", "c++", os.devnull])  # its version and its processor
    parts = (source.read_text(encoding="utf-8"), " ".join(flags), target)
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sae_research"
    path = folder / f"{source.stem}-{key}.so"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=folder) as workshop:
            draft = Path(workshop) / path.name
            _run([compiler, *flags, str(source), "-o", str(draft)])
            draft.replace(path)
    return path


def _run(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=_SECONDS).stdout
