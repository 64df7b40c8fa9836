"""What commands print."""

from __future__ import annotations

import sys

from sae_research.errors import UserError


def show(text: str) -> None:
    """Prints `text`; UserError where stdout is closed, so that nobody takes an empty answer for one."""
    if sys.stdout is None:  # pyright: ignore[reportUnnecessaryComparison]
        raise UserError("nothing can be printed: stdout is closed")
    sys.stdout.write(text)
