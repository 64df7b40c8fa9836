"""One process of a machine after the other."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def in_turn(what: str) -> Iterator[None]:
    """No other process of this user on this machine is in such a block; a dead one has left it."""
    path = Path(tempfile.gettempdir()) / f"sae_research-{os.getuid()}-{what}.lock"
    lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
