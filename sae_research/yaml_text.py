"""YAML 1.2 as DVC reads it, as plain objects; aliases must not unfold into more than a file of settings can mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sae_research.errors import UserError

_MOST = 100_000
"""Values in a file, those that aliases repeat counted each time."""
_DEEPEST = 50


def read_yaml(path: Path) -> Any:
    """The content of a YAML 1.2 file."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; run this in the project's folder") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path.name} is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from None
    return parse_yaml(text, where=path.name)


def parse_yaml(text: str, *, where: str) -> Any:
    """The content of YAML 1.2 text; `where` names its file in errors."""
    from ruamel.yaml import YAML

    try:
        content = YAML(typ="safe", pure=True).load(text)
    except RecursionError:
        raise UserError(f"{where} is nested too deeply") from None
    except Exception as error:  # beside its own errors the parser raises those of int(), date() and so on
        raise UserError(f"{where} is not valid YAML: {' '.join(str(error).split())}") from error
    _unfolded_size(content, where, {}, depth=0)
    return content


def _unfolded_size(value: Any, where: str, sizes: dict[int, int], *, depth: int) -> int:
    """How many values `value` is with all aliases filled in; each list and mapping is counted once, by its identity."""
    if depth > _DEEPEST:
        raise UserError(f"{where} is nested more than {_DEEPEST} deep")
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in sizes:
        inner = value.values() if isinstance(value, dict) else value
        sizes[id(value)] = 1 + sum(_unfolded_size(item, where, sizes, depth=depth + 1) for item in inner)
    if sizes[id(value)] > _MOST:
        raise UserError(
            f"{where} holds more than {_MOST:,} values once its anchors are filled in; write out what is meant"
        )
    return sizes[id(value)]
