"""How data reach the page: arrays as base64, values as JSON that cannot end a script, files as calls."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

RECEIVER = "receiveChunk"
"""The function of the page that each file of `data/` calls with its name and content."""
_ESCAPES = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029\x7f"}
_ESCAPES |= {code: f"\\u{code:04x}" for code in (*range(0x80, 0xA0), 0x061C, 0x200E, 0x200F, 0xFEFF)}
_ESCAPES |= {code: f"\\u{code:04x}" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}
"""What could end a script, is invisible, or turns the direction of what follows, for whoever reads the file."""


def script_json(value: Any) -> str:
    """`value` as JSON that can stand within a script of a page, whatever its texts hold."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Half of a surrogate pair is no text in UTF-8.
    return text.translate(_ESCAPES).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def chunk_text(name: str, content: Mapping[str, Any]) -> str:
    """A file of `data/`: a script of one statement that hands its content to the page."""
    return f"{RECEIVER}({script_json(name)},{script_json(content)});\n"


def floats(values: Any, dtype: str) -> str:
    """The numbers of an array, row by row, little endian, as base64; None becomes NaN."""
    array = np.asarray(values, dtype=np.float64)
    return base64.b64encode(np.ascontiguousarray(array, dtype=f"<{dtype}").tobytes()).decode("ascii")
