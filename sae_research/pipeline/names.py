"""Names in `params.yaml`: Hub ids, local folders, `embedded/<name>`, and files in them."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from sae_research.foreign import shown
from sae_research.sources.hub import WORLD_PREFIX

_LONGEST, _LONGEST_PART = 1000, 255


def check_name(name: str, place: str) -> None:
    """ValueError unless `name` can be that of a model, a repository, a data set or a folder."""
    if not name:
        raise ValueError(f"{place} is empty")
    if not name.isprintable():
        raise ValueError(f"{place} is {shown(name)}, expected letters that can be printed")
    if len(name) > _LONGEST:
        raise ValueError(f"{place} is {shown(name)}, {len(name)} letters long, expected at most {_LONGEST}")
    if any(len(part.encode()) > _LONGEST_PART for part in name.split("/")):
        raise ValueError(f"{place} is {shown(name)}, a part of it longer than {_LONGEST_PART} bytes")
    if name.startswith(WORLD_PREFIX) and ".." in PurePosixPath(name).parts:
        raise ValueError(f"{place} is {shown(name)}, which lies outside the world; remove the '..'")
    if name.startswith("~"):
        try:
            Path(name).expanduser()
        except RuntimeError:
            raise ValueError(f"{place} is {shown(name)}, but there is no such user; write out the path") from None


def check_filename(name: str, place: str) -> None:
    """ValueError unless `name` can be a file or folder in a repository."""
    check_name(name, place)
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{place} is {shown(name)}, which lies outside the repository; name its folder in repo_id")


def slug(text: str) -> str:
    """`text` as a file name: letters, digits, dots, dashes and underscores."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("._") or "sae"
