"""The version of the code that builds the world. Needs no torch."""

from __future__ import annotations

import io
import tokenize
from functools import cache
from pathlib import Path

from sae_research.digests import digest_of

_FOLDER = Path(__file__).resolve().parent
# Modules that measure a finished world but do not shape it.
_WITHOUT_INFLUENCE = ("check.py", "checks/", "version.py", "manifest.py")
_BLANK = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING}


@cache
def world_version() -> str:
    """Digest over the modules that shape a world, blind to comments, layout and docstrings."""
    names = sorted(path.relative_to(_FOLDER).as_posix() for path in _FOLDER.rglob("*.py"))
    shaping = [name for name in names if not name.startswith(_WITHOUT_INFLUENCE)]
    return digest_of({name: _meaning((_FOLDER / name).read_text(encoding="utf-8")) for name in shaping})


def _meaning(source: str) -> str:
    """The source's tokens; a string that is a statement of its own (a docstring) is left out."""
    kept: list[str] = []
    starts_statement = True
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.STRING and starts_statement:
            continue
        if token.type not in _BLANK:
            kept.append(token.string)
        starts_statement = token.type in _BLANK
    return " ".join(kept)
