"""Transcoders of circuit tracing, which are refused: they read one activation and write another.

mwhanna's and Gemma's `layer_{i}.safetensors` have `W_enc` and `W_dec` of one shape, `W_skip` those with a skip
connection; cross-layer transcoders have `W_enc_{i}` and decoders for several layers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sae_research.errors import UserError
from sae_research.formats.peeking import shapes_in
from sae_research.formats.refused import TRANSCODER
from sae_research.saes.base import Sae

_PER_LAYER = re.compile(r"W_(enc|dec)_[0-9]+")


def recognises(path: Path) -> bool:
    """A safetensors file with such tensors."""
    shapes = shapes_in(path) if path.suffix == ".safetensors" else {}
    one_shape = shapes.get("W_enc") is not None and shapes.get("W_enc") == shapes.get("W_dec")
    if (path.parent / "cfg.json").is_file():  # sparsify's, whose configuration says whether it is one
        return False
    return one_shape or "W_skip" in shapes or any(_PER_LAYER.fullmatch(key) for key in shapes)


def companions(_filename: str) -> tuple[str, ...]:
    """None."""
    return ()


def read(path: Path, *, name: str, source: Mapping[str, Any]) -> Sae:
    """Always a UserError that says why."""
    across = any(_PER_LAYER.fullmatch(key) for key in shapes_in(path))
    raise UserError(f"SAE {name!r}: {path}: {TRANSCODER}" + (", of one layer" if across else ""))
