"""How the library transformers is called: from folders alone, without a bar of its own, its errors in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from safetensors import SafetensorError
from transformers.utils import logging as library_logging

FROM_FOLDER: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
LOADING_ERRORS = (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError)
"""What it raises where a file is damaged or not what it expects."""


@contextmanager
def without_progress_bar() -> Iterator[None]:
    """Within the block, the library shows no bar; it would even if stderr is not a terminal."""
    was_on = library_logging.is_progress_bar_enabled()
    library_logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_on:
            library_logging.enable_progress_bar()


def first_line(error: Exception) -> str:
    """The error's class and the first line of its message."""
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
