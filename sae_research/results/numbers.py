"""Numbers as they are written: rounded to ten significant digits, finite, the same bytes every time."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

SIGNIFICANT_DIGITS = 10


def rounded(value: float) -> float:
    """`value` to ten significant digits; -0.0 becomes 0.0."""
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}") + 0.0


def stable(value: Any, *, where: str = "") -> Any:
    """`value` as plain JSON values with every float rounded.

    NaN and infinity are refused: a number that is missing is None, with its reason beside it.
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{where or 'value'} is {value}; a missing number is None with a reason")
        return rounded(value)
    if isinstance(value, Mapping):
        return {str(key): stable(item, where=f"{where}.{key}" if where else str(key)) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [stable(item, where=f"{where}[{i}]") for i, item in enumerate(value)]
    raise TypeError(f"{where or 'value'} is a {type(value).__name__}; only JSON values can be written")


def json_text(document: Any) -> str:
    """`document` as JSON with sorted keys and a final newline; equal documents give equal bytes."""
    return json.dumps(stable(document), sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def shown(value: float, digits: int = 4) -> str:
    """`value` for people: four significant digits, whole numbers without a point, thousands set apart."""
    if value == 0:
        return "0"
    magnitude = abs(value)
    if magnitude >= 10_000 or value == int(value):
        return f"{value:,.0f}"
    if magnitude < 1e-4:
        return f"{value:.{digits - 2}e}"
    decimals = max(digits - 1 - math.floor(math.log10(magnitude)), 0)
    return f"{value:.{decimals}f}"
