"""The version of the code that builds the world. Needs no torch."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from sae_research.code_version import code_of
from sae_research.digests import digest_of

_FOLDER = Path(__file__).resolve().parent
# Modules that measure a finished world but do not shape it.
_WITHOUT_INFLUENCE = ("check.py", "checks/", "version.py", "manifest.py")


@cache
def world_version() -> str:
    """Digest over the modules of this folder that shape a world, blind to comments, layout and docstrings."""
    names = sorted(path.relative_to(_FOLDER).as_posix() for path in _FOLDER.rglob("*.py"))
    shaping = [name for name in names if not name.startswith(_WITHOUT_INFLUENCE)]
    return digest_of({name: code_of(_FOLDER / name) for name in shaping})
